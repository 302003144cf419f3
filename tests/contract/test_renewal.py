"""Leases that are renewed in the background, and what the holder learns of losing one."""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Callable, Iterator
from typing import Any

import crowd
import pytest
from backends import IN_THE_STATE, ONE_OF_EACH_KIND, Clock

from sharedstate import LockLost, State, StoreUnavailable
from sharedstate.codec import TEXTS
from sharedstate.locks import lock as lock_module
from sharedstate.locks import renewal
from sharedstate.stores.operations import Swap

LEASE = 50.0
SHORT_LEASE = 0.2  # For those that wait for its end.
SECONDS = 60  # Guards against a hang, and nothing else.

pytestmark = ONE_OF_EACH_KIND


class Watched:
    """A store's swaps: each can be waited for, and fail."""

    def __init__(self, state: State, monkeypatch: pytest.MonkeyPatch) -> None:
        self.done = threading.Semaphore(0)
        self.before: Callable[[], object] = lambda: None
        transact = state.store.transact

        def watched(keys: Any, operation: Any) -> Any:
            if type(operation) is not Swap:
                return transact(keys, operation)
            self.before()
            result = transact(keys, operation)
            self.done.release()
            return result

        monkeypatch.setattr(state.store, "transact", watched)

    def wait(self) -> None:
        """Wait for a swap that begins from now on."""
        while self.done.acquire(blocking=False):
            pass
        for _ in range(2):  # The first may have begun before.
            assert self.done.acquire(timeout=SECONDS)


@pytest.fixture
def swaps(state: State, monkeypatch: pytest.MonkeyPatch) -> Watched:
    return Watched(state, monkeypatch)


@pytest.fixture(autouse=True)
def no_thread_left(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """It renews often; what renews ends with the lock."""
    monkeypatch.setattr(renewal, "_EVERY", 0.001)
    monkeypatch.setattr(renewal, "_AGAIN", 0.0005)
    yield
    for thread in threading.enumerate():
        if thread.name == "sharedstate-renewal":
            thread.join(SECONDS)
            assert not thread.is_alive()


def is_free(state: State) -> bool:
    lock = state.lock("job")
    is_acquired = lock.try_acquire()
    lock.discard()
    return is_acquired


@pytest.mark.slow
def test_outlasts_its_lease(state: State, swaps: Watched, clock: Clock) -> None:
    """A lock that renews itself is held for longer than its lease, and free at its release."""
    with state.lock("job", lease=LEASE, renew=True) as lock:
        for _ in range(3):
            swaps.wait()
            clock.advance(LEASE * 0.6)
            assert not is_free(state)
        assert lock.is_held and not lock.lost.is_set()
    assert not lock.is_held
    assert is_free(state)


def test_without_renewal(state: State, clock: Clock) -> None:
    """A lock that is not to be renewed ends with its lease."""
    lock = state.lock("job", lease=LEASE).acquire()
    clock.advance(LEASE)
    assert is_free(state)
    lock.discard()


def test_lost_to_another(state: State) -> None:
    """The holder of a lock that others have now is told, and cannot release it."""
    lock = state.lock("job", lease=LEASE, renew=True).acquire()
    state.namespace("lock", TEXTS).set("job", "another", 30)
    assert lock.lost.wait(SECONDS)
    assert not lock.is_held
    with pytest.raises(LockLost):
        lock.release()
    assert state.namespace("lock", TEXTS).get("job") == "another"


@pytest.mark.slow
def test_store_down(state: State, swaps: Watched) -> None:
    """A renewal that fails is tried again; if it keeps failing, the lock is lost."""
    failures: list[bool] = []

    def fail_twice() -> None:
        if len(failures) < 2:
            failures.append(True)
            raise StoreUnavailable("for a moment")

    with state.lock("job", lease=LEASE, renew=True) as lock:
        swaps.before = fail_twice
        swaps.wait()
        assert len(failures) == 2 and lock.is_held

    def fail() -> None:
        raise StoreUnavailable("for good")

    lock = state.lock("job", lease=SHORT_LEASE, renew=True).acquire()
    swaps.before = fail
    assert lock.lost.wait(SECONDS)
    swaps.before = lambda: None
    lock.discard()


@pytest.mark.slow
def test_store_hangs(state: State, swaps: Watched) -> None:
    """The lock is lost in time although the store does not respond."""
    lock = state.lock("job", lease=SHORT_LEASE, renew=True).acquire()
    responds = threading.Event()
    swaps.before = lambda: responds.wait(SECONDS)
    assert lock.lost.wait(SECONDS)
    assert not responds.is_set() and not lock.is_held
    responds.set()
    lock.discard()


def test_again(state: State) -> None:
    """An object that has lost its lock can acquire it again."""
    lock = state.lock("job", lease=LEASE, renew=True).acquire()
    state.namespace("lock", TEXTS).delete("job")
    assert lock.lost.wait(SECONDS)
    lock.discard()
    with lock:
        assert lock.is_held and not lock.lost.is_set()


@IN_THE_STATE
def test_forgotten(state: State, swaps: Watched, clock: Clock) -> None:
    """A lock that nobody has any more is not renewed, and free when its lease ends."""
    lock = state.lock("job", lease=LEASE, renew=True).acquire()
    assert lock.is_held
    del lock
    gc.collect()
    for thread in threading.enumerate():
        if thread.name == "sharedstate-renewal":
            thread.join(SECONDS)
    clock.advance(LEASE)
    assert is_free(state)


def test_by_its_own_clock(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever was stopped does not believe to hold the lock, without asking the store."""
    lock = state.lock("job", lease=100).acquire()
    now = lock_module.time.monotonic()
    with monkeypatch.context() as patch:
        patch.setattr(lock_module.time, "monotonic", lambda: now + 85)
        assert lock.is_held
        lock.renew()
        patch.setattr(lock_module.time, "monotonic", lambda: now + 170)
        assert lock.is_held
        patch.setattr(lock_module.time, "monotonic", lambda: now + 180)
        assert not lock.is_held
    lock.release()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_not_the_childs(state: State) -> None:
    """A child of the process that holds it does not hold it."""
    with state.lock("job", lease=LEASE, renew=True) as lock:
        assert lock.is_held
        assert crowd.in_child(lambda: lock.is_held) is False
