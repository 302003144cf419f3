"""Judges of histories: pure functions of what the clients saw.

The first ones judge one counter that every client increments by one, from zero. `linearizable`
judges any mix of operations on one key by a model of it.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from itertools import accumulate
from typing import Any, NamedTuple

from sharedstate.testing.checkers import duplicates, exactly_one_to, gaps

from .model import MISSING

__all__ = [
    "Event",
    "Increment",
    "duplicates",
    "exactly_one_to",
    "gaps",
    "linearizable",
    "out_of_bounds",
    "real_time_violations",
]

Model = Callable[[Any, str, Any], tuple[Any, Hashable]]


class Increment(NamedTuple):
    """One increment by one, as its client saw it.

    :param number: the number it was given. None when no response came: whether it was counted is
        unknown.
    :param started: when the request was sent, on a clock that all clients share.
    :param ended: when the response was there. Means nothing without a response.
    """

    number: int | None
    started: float
    ended: float


class Event(NamedTuple):
    """One operation on one key, as its caller saw it.

    :param process: who called; for people to read.
    :param result: what it returned or `race.model.Raised`.
    :param ended: `math.inf` when no response came: it may have taken effect at any moment since
        `started`, or never.
    """

    process: Any
    operation: str
    argument: Any
    result: Any
    started: float
    ended: float


def real_time_violations(increments: Iterable[Increment]) -> list[tuple[Increment, Increment]]:
    """Pairs in the wrong order: the first had ended before the second started, and is not smaller.

    One pair for every increment that came out too small, with the largest before it. Increments
    without a response are in no pair; `out_of_bounds` counts them. O(n log n).
    """
    finished = sorted(_complete(increments), key=lambda increment: increment.ended)
    ends = [increment.ended for increment in finished]
    largest = list(accumulate(finished, _larger))
    pairs = []
    for later in sorted(finished, key=lambda increment: increment.started):
        before = bisect_left(ends, later.started)
        if before and _number(largest[before - 1]) >= _number(later):
            pairs.append((largest[before - 1], later))
    return pairs


def out_of_bounds(increments: Iterable[Increment]) -> list[Increment]:
    """Increments whose number no exact counter could have given at that time.

    A number is larger than the count of increments that had ended before it started, and at
    most the count of those that had started when it ended. One without a response counts for the
    second and not for the first: it widens the bounds by one, so that a loss cannot hide behind
    it. O(n log n).
    """
    history = list(increments)
    complete = _complete(history)
    starts = sorted(increment.started for increment in history)
    ends = sorted(increment.ended for increment in complete)

    def possible(increment: Increment) -> bool:
        before = bisect_left(ends, increment.started)
        return before < _number(increment) <= bisect_right(starts, increment.ended)

    return [increment for increment in complete if not possible(increment)]


def linearizable(history: Iterable[Event], model: Model, initial: Hashable = MISSING) -> bool:
    """Whether the operations can have happened one at a time, each between its start and its end.

    The search of Wing and Gong with the memory of Lowe ("Testing for linearizability", 2017): a
    set of operations done that led to the same state before is not followed again. Exponential in
    the number of operations that overlap, not in their total; one without a response overlaps with
    all after it. Keys are independent of each other: check each by itself.

    :param model: `model(state, operation, argument)` returns the result and the state after, and
        has no effect. States are hashable.
    :param initial: the state at the beginning.
    """
    events = sorted(history, key=lambda event: event.started)
    complete = sum(1 << index for index, event in enumerate(events) if event.ended < math.inf)
    pending: list[tuple[int, Hashable]] = [(0, initial)]
    seen = set(pending)
    while pending:
        done, state = pending.pop()
        if done & complete == complete:
            return True
        for index in _may_be_next(events, done):
            event = events[index]
            result, after = model(state, event.operation, event.argument)
            step = (done | 1 << index, after)
            if step not in seen and (event.ended == math.inf or result == event.result):
                seen.add(step)
                pending.append(step)
    return False


def _may_be_next(events: Sequence[Event], done: int) -> Iterator[int]:
    """Those not done that started before any other of them ended. `events` are in order of start.

    :param done: a set of indices, as the bits of a number.
    """
    first_end = math.inf
    for index, event in enumerate(events):
        if event.started > first_end:
            return
        if not done >> index & 1:
            yield index
            first_end = min(first_end, event.ended)


def _complete(increments: Iterable[Increment]) -> list[Increment]:
    return [increment for increment in increments if increment.number is not None]


def _number(increment: Increment) -> int:
    assert increment.number is not None
    return increment.number


def _larger(a: Increment, b: Increment) -> Increment:
    return max(a, b, key=_number)
