"""A thread that is ended while it does what others wait for, as by a time-out of gevent's."""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from sharedstate import StoreUnavailable
from sharedstate.stores.combining import Combining
from sharedstate.stores.guards.breaker import Breaker
from sharedstate.stores.memory import MemoryStore
from sharedstate.stores.operations import Each, Increment

SECONDS = 60  # Guards against a hang, and nothing else.


class Watched(deque[Any]):
    arrived = threading.Semaphore(0)

    def append(self, waiting: Any) -> None:
        super().append(waiting)
        self.arrived.release()


def test_no_breaker_opens(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those who wait with it do not know what became of theirs, and the store is there."""
    store = MemoryStore(timeout=SECONDS)
    transact = store.transact

    def interrupted(keys: Any, operation: Any) -> Any:
        if type(operation) is Each:
            raise KeyboardInterrupt
        return transact(keys, operation)

    monkeypatch.setattr(store, "transact", interrupted)
    combining = Combining(store)
    combining._queue = Watched()
    breaker = Breaker(combining)

    def increment() -> Any:
        try:
            return breaker.transact([b"n"], Increment(1))
        except BaseException as error:  # noqa: BLE001
            return error

    combining._lead.acquire()
    with ThreadPoolExecutor(3) as threads:
        found = [threads.submit(increment) for _ in range(3)]
        for _ in found:
            assert Watched.arrived.acquire(timeout=SECONDS)
        combining._lead.release()
        combining._appoint()
    errors = [each.result() for each in found]
    assert sum(isinstance(error, KeyboardInterrupt) for error in errors) == 1
    unknown = [error for error in errors if isinstance(error, StoreUnavailable)]
    assert len(unknown) == 2 and all(error.outcome_unknown for error in unknown)
    assert increment() == 1
