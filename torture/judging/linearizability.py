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
