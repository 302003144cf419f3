"""The part of a history that already cannot have happened."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence

from .key_model import MISSING, Raised
from .linearizability import Event, Model, TooHard, linearizable, states_after

LIMIT = 200_000


def shortest(
    history: Sequence[Event], model: Model, initial: Hashable = MISSING
) -> tuple[list[Event], Hashable]:
    """A short history that is not linearizable because the given one is not, and its first state.

    Only what proves nothing is dropped, so that the rest is wrong by itself: what came after the
    first response that nothing explains; what came before a moment at which nobody was asking and
    the state was known; and what had no effect.
    """
    events = sorted(history, key=lambda event: event.started)
    events = _until_it_is_wrong(events, model, initial)
    events, initial = _since_it_was_known(events, model, initial)
    return _without_idle(events, model, initial), initial


def _is_wrong(events: Sequence[Event], model: Model, initial: Hashable) -> bool:
    try:
        return not linearizable(events, model, initial, limit=LIMIT)
    except TooHard:
        return False


def _until_it_is_wrong(events: list[Event], model: Model, initial: Hashable) -> list[Event]:
    """What was seen until the first response with which it is wrong."""
    ends = sorted(event.ended for event in events if not event.is_open)
    low, high = 0, len(ends) - 1
    while low < high:
        middle = (low + high) // 2
        if _is_wrong(_seen_until(events, ends[middle]), model, initial):
            high = middle
        else:
            low = middle + 1
    found = _seen_until(events, ends[low])
    return found if _is_wrong(found, model, initial) else events


def _seen_until(events: list[Event], moment: float) -> list[Event]:
    return [
        event if event.ended <= moment else event._replace(result=None, ended=math.inf)
        for event in events
        if event.started <= moment and (event.ended <= moment or event.operation != "get")
    ]


def _since_it_was_known(
    events: list[Event], model: Model, initial: Hashable
) -> tuple[list[Event], Hashable]:
    """The rest after the last moment at which only one state was possible, and that state."""
    latest = -math.inf
    for position in range(len(events) - 1, 0, -1):
        before, rest = events[:position], events[position:]
        latest = max(event.ended for event in before)
        if latest >= rest[0].started:
            continue
        try:
            states = set(states_after(before, model, initial, limit=LIMIT))
        except TooHard:
            continue
        if len(states) == 1 and _is_wrong(rest, model, *states):
            return rest, states.pop()
    return events, initial


def _without_idle(events: list[Event], model: Model, initial: Hashable) -> list[Event]:
    """Without those that had no effect and are not needed."""
    for event in [event for event in events if _is_idle(event)]:
        fewer = [other for other in events if other is not event]
        if _is_wrong(fewer, model, initial):
            events = fewer
    return events


def _is_idle(event: Event) -> bool:
    has_failed = event.result is False or isinstance(event.result, Raised)
    return not event.is_open and (event.operation in ("get", "has") or has_failed)
