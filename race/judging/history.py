"""What all clients of a race were answered, as the checkers take it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter

from ..clients.numbers import Reader, number_in
from ..clients.rush import Answer
from ..strategy import Judged
from .checkers import Increment


@dataclass(frozen=True)
class History:
    """Every answer of a race, with its times.

    :param judged: whose numbers have to be 1, 2, 3, …
    :param before: the number that the counter stood at before; the judged ones follow it.
    :param read: what reads the number of an answer.
    """

    answers: Sequence[Answer]
    judged: Judged = Judged.ALL
    before: int = 0
    read: Reader = number_in

    @property
    def sequences(self) -> list[list[Increment]]:
        """The increments, in as many groups as there are counters; each counts from 1."""
        if self.judged is not Judged.EACH:
            return [self._increments(self.answers)]
        return [self._increments(group) for group in _grouped(self.answers, "client")]

    @property
    def workers(self) -> list[list[int]]:
        """The numbers that each worker gave out, as far as workers are known."""
        known = [answer for answer in self.answers if answer.worker is not None]
        groups = [self._increments(group) for group in _grouped(known, "worker")]
        return [[one.number for one in group if one.number is not None] for group in groups]

    @property
    def latencies(self) -> list[float]:
        """How many seconds the answered requests took, the shortest first."""
        done = (answer for answer in self.answers if self.read(answer) is not None)
        return sorted(answer.ended - answer.started for answer in done)

    @property
    def seconds(self) -> float:
        """From the first request to the last answer."""
        starts = [answer.started for answer in self.answers]
        ends = [answer.ended for answer in self.answers]
        return max(ends) - min(starts) if starts else 0.0

    def _increments(self, answers: Iterable[Answer]) -> list[Increment]:
        return [
            Increment(
                None if number is None else number - self.before, answer.started, answer.ended
            )
            for answer, number in ((answer, self.read(answer)) for answer in answers)
        ]


def _grouped(answers: Iterable[Answer], attribute: str) -> list[list[Answer]]:
    key = attrgetter(attribute)
    return [list(group) for _, group in groupby(sorted(answers, key=key), key)]
