"""A counter behind a lock, for holders that are stopped for longer than their lease.

The lock alone does not keep such a holder from writing when it goes on. The counter's value has the
highest fence that was seen beside it, from the first look on::

    A  lock, fence 7 ── look (7, 5) ── stopped …………………………………………… write (7, 6): refused
    B                       (lease ends) lock, fence 8 ── look (8, 5) ── write (8, 6)
"""

from __future__ import annotations

import time
from typing import Any

from sharedstate import Deadlock, SharedStateError, State

from ..judging.key_model import Inc
from .calls import Call, NotDone, Part

LEASE, WAIT = 0.3, 0.5
THINK = 0.01


class Stale(Exception):
    """Somebody with a higher fence was here."""


def guarded_increment(key: str) -> Call:
    """Add one to a counter: read it and write it, while the lock is held."""
    return Call("lock", (Part(key, "inc", Inc()),), lambda state: (_run(state, key),))


def _run(state: State, key: str) -> int:
    lock = state.lock(f"lock of {key}", lease=LEASE, wait=WAIT)
    try:
        lock.acquire()
        number = _look(state, key, lock.fence)
    except Deadlock:
        raise  # Nobody holds two locks here.
    except (SharedStateError, Stale) as error:
        _leave(lock)
        raise NotDone from error
    time.sleep(THINK)
    try:
        _write(state, key, lock.fence, number + 1)
    except Stale as error:
        raise NotDone from error
    finally:
        _leave(lock)
    return number + 1


def _leave(lock: Any) -> None:
    try:
        lock.discard()
    except SharedStateError:
        pass  # Its lease ends.


def _look(state: State, key: str, fence: int) -> int:
    if not getattr(state, "has_fences", True):
        return int(state.get(key, [0, 0])[1])

    def change(present: list[int]) -> list[int]:
        if present[0] > fence:
            raise Stale
        return [fence, present[1]]

    return state.update(key, change, default=[0, 0])[1]


def _write(state: State, key: str, fence: int, number: int) -> None:
    if not getattr(state, "has_fences", True):
        state.set(key, [fence, number])
        return

    def change(present: list[int]) -> list[int]:
        if present[0] > fence:
            raise Stale
        return [fence, number]

    state.update(key, change, default=[0, 0])
