"""Whether a history of any operations on one key is linearizable, by a model of the key."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from .key_model import MISSING

Model = Callable[[Any, str, Any], tuple[Any, Hashable]]


class Event(NamedTuple):
    """One operation on one key, as its caller saw it.

    :param process: who called; for people to read.
    :param result: what it returned or `key_model.Raised`.
    :param ended: `math.inf` when no response came: it may have taken effect at any moment since
        `started`, or never.
    """

    process: Any
    operation: str
    argument: Any
    result: Any
    started: float
    ended: float

    @property
    def is_open(self) -> bool:
        """Whether no response came."""
        return self.ended == math.inf


class TooHard(Exception):
    """So many orders are possible that it was given up to try them all."""


def linearizable(
    history: Iterable[Event],
    model: Model,
    initial: Hashable = MISSING,
    *,
    limit: float = math.inf,
) -> bool:
    """Whether the operations can have happened one at a time, each between its start and its end.

    :param model: `model(state, operation, argument)` returns the result and the state after, and
        has no effect. States are hashable.
    :param initial: the state at the beginning.
    :param limit: how many steps are tried at most.
    :raises TooHard: when they did not suffice.
    """
    return next(states_after(history, model, initial, limit=limit), _NONE) is not _NONE


_NONE = object()


def states_after(
    history: Iterable[Event], model: Model, initial: Hashable = MISSING, *, limit: float = math.inf
) -> Iterator[Hashable]:
    """The states that the key can be in afterwards, some more than once; none if not linearizable.

    The search of Wing and Gong with the memory of Lowe ("Testing for linearizability", 2017): a
    set of operations done that led to the same state before is not followed again. Exponential in
    the number of operations that overlap, not in their total; one without a response overlaps with
    all after it. So of several alike without a response, the one that began first is taken first,
    as it can stand wherever the others can; and where the same was reached with fewer of them, it
    is not tried with more. Keys are independent of each other: check each by itself.
    """
    events = sorted(history, key=lambda event: event.started)
    ended = [event for event in events if not event.is_open]
    lost = [event for event in events if event.is_open]
    after = _those_alike(lost)
    all_ended = (1 << len(ended)) - 1
    search = _Search(initial)
    while search.steps:
        done, taken, state = search.steps.pop()
        if done == all_ended:
            yield state
        first_end, free = _may_be_next(ended, done)
        for index, event in enumerate(lost):
            if event.started > first_end:
                break
            if not taken >> index & 1 and (after[index] < 0 or taken >> after[index] & 1):
                changed = model(state, event.operation, event.argument)[1]
                search.follow(done, taken | 1 << index, changed)
        for index in free:
            event = ended[index]
            result, changed = model(state, event.operation, event.argument)
            if result == event.result:
                search.follow(done | 1 << index, taken, changed)
        if search.tried > limit:
            raise TooHard


class _Search:
    """What is still to be followed, and what was reached with which of the lost ones."""

    def __init__(self, initial: Hashable) -> None:
        self.steps: list[tuple[int, int, Hashable]] = [(0, 0, initial)]
        self.tried = 0
        self._reached: dict[tuple[int, Hashable], list[int]] = {(0, initial): [0]}

    def follow(self, done: int, taken: int, state: Hashable) -> None:
        """Follow a step unless the same was reached with these lost ones, or with fewer."""
        self.tried += 1
        known = self._reached.setdefault((done, state), [])
        for fewer in known:
            if fewer & taken == fewer:
                return
        known.append(taken)
        self.steps.append((done, taken, state))


def _may_be_next(ended: Sequence[Event], done: int) -> tuple[float, list[int]]:
    """When the first of those not done ended, and which of them had started by then.

    :param ended: in the order of their starts.
    :param done: a set of indices, as the bits of a number.
    :returns: the indices with the one that ended first at the end, as it is the likeliest.
    """
    first = (~done & (done + 1)).bit_length() - 1
    first_end = math.inf
    free = []
    for index in range(first, len(ended)):
        event = ended[index]
        if event.started > first_end:
            break
        if not done >> index & 1:
            free.append(index)
            first_end = min(first_end, event.ended)
    return first_end, sorted(free, key=lambda index: -ended[index].ended)


def _those_alike(lost: Sequence[Event]) -> list[int]:
    """For each the index of the last one before it that asked for the same, or -1."""
    found: list[int] = []
    for index, event in enumerate(lost):
        alike = (
            other
            for other in range(index - 1, -1, -1)
            if (lost[other].operation, lost[other].argument) == (event.operation, event.argument)
        )
        found.append(next(alike, -1))
    return found
