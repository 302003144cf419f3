"""What the checkers find in a history: figures, without a word on what they mean."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ..strategy import Judged
from .checkers import (
    Increment,
    duplicates,
    exactly_one_to,
    gaps,
    out_of_bounds,
    real_time_violations,
)
from .history import History


class Repeated(NamedTuple):
    """A number, and how often it was given."""

    number: int
    times: int


@dataclass(frozen=True)
class Findings:
    """The figures of a race.

    :param unknown: how many requests got no number. Each may have counted or not: as many
        numbers may be missing, which are not in `skipped`.
    :param twice: how many numbers were given more than once.
    :param skipped: how many numbers nobody was given.
    :param disordered: how many came out smaller than one that had been given before they were
        asked for, or larger than the number of requests until then.
    :param counters: how many there are to judge: one, or one for each client.
    :param wrong: how many of them were not exact.
    :param commonest: the number that was given most often, as it was given; summed up over all
        counters.
    :param workers: how many processes responded.
    :param separate: how many of them counted from 1 by themselves, if all did and there are
        several; else 0, as where each client has a counter.
    :param p99: seconds in which all but a hundredth of the responses were there.
    """

    requests: int
    unknown: int
    twice: int
    skipped: int
    disordered: int
    counters: int
    wrong: int
    commonest: Repeated
    workers: int
    separate: int
    rate: float
    p99: float

    @property
    def exact(self) -> bool:
        return not self.wrong


def find(history: History) -> Findings:
    """What is wrong with a history, if anything."""
    sequences = history.sequences
    found = [_judge(sequence) for sequence in sequences]
    latencies, workers = history.latencies, history.workers
    unknown = len(history.responses) - len(latencies)
    return Findings(
        requests=len(history.responses),
        unknown=unknown,
        twice=sum(one.twice for one in found),
        skipped=sum(one.skipped for one in found),
        disordered=sum(one.disordered for one in found),
        counters=len(sequences),
        wrong=sum(not one.exact for one in found),
        commonest=_commonest(sequences, history.before),
        workers=len(workers),
        separate=0 if history.judged is Judged.EACH else _separate(workers, unknown),
        rate=len(latencies) / history.seconds if latencies else 0.0,
        p99=percentile(latencies, 0.99),
    )


def times_given(increments: Iterable[Increment]) -> list[int]:
    """How often each of the numbers was given that so many requests should have been: 1, 2, …"""
    history = list(increments)
    times = Counter(increment.number for increment in history)
    return [times[number] for number in range(1, len(history) + 1)]


def percentile(ordered: Sequence[float], share: float) -> float:
    """The value that the given share of them do not exceed; 0 of none."""
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)] if ordered else 0.0


class _Judgement(NamedTuple):
    twice: int
    skipped: int
    disordered: int
    exact: bool


def _judge(sequence: list[Increment]) -> _Judgement:
    numbers = _numbers(sequence)
    unknown = len(sequence) - len(numbers)
    disordered = {*out_of_bounds(sequence), *(late for _, late in real_time_violations(sequence))}
    in_range = exactly_one_to(numbers, len(sequence), unknown)
    return _Judgement(
        twice=len(duplicates(numbers)),
        skipped=max(0, len(gaps(numbers, len(sequence))) - unknown),
        disordered=len(disordered),
        exact=in_range and not disordered,
    )


def _commonest(sequences: Iterable[Sequence[Increment]], before: int) -> Repeated:
    tops = [Counter(_numbers(sequence)).most_common(1) for sequence in sequences]
    found = [top[0] for top in tops if top]
    if not found:
        return Repeated(0, 0)
    return Repeated(found[0][0] + before, sum(times for _, times in found))


def _separate(workers: Sequence[Sequence[int]], unknown: int) -> int:
    """How many workers gave the numbers from 1 on, each once, if every one of them did.

    One that shares its counter with others finds numbers missing that they gave.
    """
    active = [numbers for numbers in workers if numbers]
    alone = all(
        not duplicates(numbers) and len(gaps(numbers, max(numbers))) <= unknown
        for numbers in active
    )
    return len(active) if alone and len(active) > 1 else 0


def _numbers(sequence: Iterable[Increment]) -> list[int]:
    return [increment.number for increment in sequence if increment.number is not None]
