"""Judges of histories of one counter that every client increments by one, from zero.

They are pure functions of what the clients saw.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from itertools import accumulate
from typing import NamedTuple

from sharedstate.testing.checkers import duplicates, exactly_one_to, gaps

__all__ = [
    "Increment",
    "duplicates",
    "exactly_one_to",
    "gaps",
    "out_of_bounds",
    "real_time_violations",
]


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


def _complete(increments: Iterable[Increment]) -> list[Increment]:
    return [increment for increment in increments if increment.number is not None]


def _number(increment: Increment) -> int:
    assert increment.number is not None
    return increment.number


def _larger(a: Increment, b: Increment) -> Increment:
    return max(a, b, key=_number)
