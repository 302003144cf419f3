"""A store that is held while others come, and the threads that wait for it."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from sharedstate.stores.base import Store
from sharedstate.stores.combining import Combining
from sharedstate.stores.memory import MemoryStore
from sharedstate.stores.operations import (
    Increment,
    Operation,
    Put,
)

ROOT = Path(__file__).parents[2]
SECONDS = 30  # Guards against a hang, and nothing else.
Call = tuple[Sequence[bytes], Operation]

LEADER: Call = ([b"leader"], Put(b"x", 0))
ONE = Increment(1)


class Held(MemoryStore):
    """A store that tells what it is asked for, and holds an operation until it may go on."""

    has_server = False

    def __init__(self) -> None:
        super().__init__()
        self.timeout = SECONDS
        self.calls: list[tuple[list[bytes], Operation]] = []
        self.reads: list[list[bytes]] = []
        self.holds = False
        self.entered = threading.Semaphore(0)
        self.may_go = threading.Semaphore(0)
        self.fail: Callable[[Sequence[bytes], Operation], BaseException | None] = lambda *_: None

    def transact(self, keys: Sequence[bytes], operation: Operation) -> Any:
        self.calls.append((list(keys), operation))
        if self.holds:
            self.entered.release()
            assert self.may_go.acquire(timeout=SECONDS)
        if (error := self.fail(keys, operation)) is not None:
            raise error
        return super().transact(keys, operation)

    def read(self, keys: Sequence[bytes]) -> Any:
        self.reads.append(list(keys))
        return super().read(keys)


class Watched(deque[Any]):
    """A queue at which a test can wait until somebody has come."""

    def __init__(self) -> None:
        super().__init__()
        self.arrived = threading.Semaphore(0)

    def append(self, waiting: Any) -> None:
        super().append(waiting)
        self.arrived.release()


def outcome(store: Store, call: Call) -> Any:
    """The result, or the error."""
    try:
        return store.transact(*call)
    except BaseException as error:  # noqa: BLE001
        return error


class Company:
    """Threads of which the first is held in the store, and the others come after it."""

    def __init__(self, store: Combining, held: Held) -> None:
        self.store, self.held = store, held
        self.threads = ThreadPoolExecutor(40)

    def lead(self, call: Call = LEADER) -> Future[Any]:
        self.held.holds = True
        future = self.threads.submit(outcome, self.store, call)
        assert self.held.entered.acquire(timeout=SECONDS)
        self.held.holds = False
        return future

    def follow(self, *calls: Call, by: Store | None = None) -> list[Future[Any]]:
        """They come in this order."""
        found = []
        for call in calls:
            found.append(self.threads.submit(outcome, by or self.store, call))
            self.arrived()
        return found

    def arrived(self) -> None:
        queue: Any = self.store._queue
        assert queue.arrived.acquire(timeout=SECONDS)

    def go(self) -> None:
        self.held.may_go.release()


def results(futures: Sequence[Future[Any]]) -> list[Any]:
    return [future.result(SECONDS) for future in futures]


def in_company(company: Company, *calls: Call) -> list[Any]:
    """What these calls return that come while the store is busy."""
    leader = company.lead()
    futures = company.follow(*calls)
    company.go()
    found = results(futures)
    assert leader.result(SECONDS) is None
    return found
