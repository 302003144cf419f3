"""Who judges a race of a crowd: each yields the faults that it finds."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any

from crowd import Outcome

from race.judging import checkers
from race.judging.checkers import Increment


def judge_numbers(outcome: Outcome) -> Iterator[str]:
    """Each number from 1 to n once, in the order of real time, and n in the end."""
    n = len(outcome.answers)
    history = [Increment(call.result, *call[2:]) for call in outcome.answers]
    numbers = [call.result for call in outcome.answers]
    if not checkers.exactly_one_to(numbers, n):
        yield f"twice: {checkers.duplicates(numbers)[:9]}, never: {checkers.gaps(numbers, n)[:9]}"
    if wrong := checkers.real_time_violations(history):
        yield f"against real time: {wrong[0]}"
    if wrong := checkers.out_of_bounds(history):
        yield f"no exact counter can say: {wrong[0]}"
    if outcome.found != n:
        yield f"{outcome.found} in the end, not {n}"


def judge_adds(outcome: Outcome) -> Iterator[str]:
    """One winner a key, whose value it has."""
    for key, value in outcome.found.items():
        added = [a.worker for a in outcome.answers if a.result == (key, True)]
        if added != [value]:
            yield f"{key} was added by {added} and holds {value}"


def judge_exchanges(outcome: Outcome) -> Iterator[str]:
    """What was put in came out once, but for the last; what came out first was nothing."""
    workers = Counter(call.worker for call in outcome.answers)
    put_in = Counter(f"{me}.{i}" for me, times in workers.items() for i in range(times))
    came_out = Counter(call.result for call in outcome.answers)
    if came_out + Counter([outcome.found]) != put_in + Counter([None]):
        yield f"lost: {put_in - came_out}, twice: {came_out - put_in}"


def judge_computations(outcome: Outcome) -> Iterator[str]:
    """One computation a key, whose value all got."""
    if set(outcome.found) != {1}:
        yield f"computed {outcome.found} times"
    for key, values in _by_name(outcome).items():
        if len(set(values)) > 1:
            yield f"{key} was {len(set(values))} values"


def judge_refreshes(outcome: Outcome) -> Iterator[str]:
    """One computation a key, whose value the others got, or the old one."""
    calls = [call for call in outcome.answers if call.result != "old"]
    if set(outcome.found) != {1}:
        yield f"computed {outcome.found} times"
    for key, values in _by_name(Outcome(calls, None)).items():
        if len({*values, "old"}) > 2:
            yield f"{key} was {len({*values, 'old'})} values"


def judge_locked(outcome: Outcome) -> Iterator[str]:
    """Never two inside, and fences that grow in the order of holding."""
    yield from judge_numbers(
        Outcome([a._replace(result=a.result[0]) for a in outcome.answers], outcome.found)
    )
    fences = [fence for _, fence in sorted(call.result for call in outcome.answers)]
    if fences != sorted(set(fences)):
        yield f"fences in the order of holding: {fences[:20]}"


def judge_once(outcome: Outcome) -> Iterator[str]:
    """One increment a token, and the same number to all who came with it."""
    returned = _by_name(outcome)
    first = [number for numbers in returned.values() for number in set(numbers)]
    if sorted(first) != list(range(1, len(returned) + 1)) or outcome.found != len(returned):
        yield f"{len(returned)} tokens: {sorted(first)}, and {outcome.found} at the end"


def judge_pairs(outcome: Outcome) -> Iterator[str]:
    """Nobody ever sees that only one of the two was written."""
    seen = [call.result for call in outcome.answers if call.result is not None]
    torn = [(a, b) for a, b in (*seen, outcome.found) if a != b]
    if torn:
        yield f"torn: {torn[:5]}"


def judge_counted_pairs(outcome: Outcome) -> Iterator[str]:
    """Both are counted in one step, and snapshots of them only go forward."""
    yield from judge_pairs(outcome)
    counted = [a._replace(result=a.result[0]) for a in outcome.answers if a.worker % 2]
    yield from judge_numbers(Outcome(counted, outcome.found[0]))
    for me in {call.worker for call in outcome.answers}:
        seen = [call.result[0] or 0 for call in outcome.answers if call.worker == me]
        if seen != sorted(seen):
            yield f"{me} saw the counter go back"


def _by_name(outcome: Outcome) -> dict[str, list[Any]]:
    values = defaultdict(list)
    for call in outcome.answers:
        name, value = call.result
        values[name].append(value)
    return values
