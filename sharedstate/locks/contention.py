"""Compare-and-swap for many: a caller that loses again and again takes a place in a queue."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from ..errors import Deadlock, SharedStateError, StoreFull, ValueTooLarge
from ..keyspace import Keyspace
from ..stores.support.pauses import pauses
from . import fairness
from .fairness import Record

T = TypeVar("T")

LEASE_SECONDS = 2.0
WAIT_SECONDS = 10.0
CONTENDED_SECONDS = 0.5
_MAX_CONTENDED = 1000


class _Thread(threading.local):
    """The keys that this thread, or greenlet, changes while it holds, or wants, their lock."""

    def __init__(self) -> None:
        self.keys: set[str] = set()


class Contention:
    """Repeats compare-and-swap until it succeeds, so that every caller's does in the end.

    An attempt that takes long loses to short ones for ever, and the caller that has just won begins
    the next one first. So a caller that has lost twice and is late takes a lock of the key for its
    attempts, and so does one that finds that lock taken. The lock only orders its waiters: the
    swap decides, and nobody has to hold the lock.

    :param queues: where the locks are, whose records hold the waiters.
    """

    def __init__(self, keyspace: Keyspace, queues: Keyspace) -> None:
        self._keyspace = keyspace
        self._queues = queues
        self._thread = _Thread()
        self._contended: dict[str, float] = {}
        """Until when a key counts as one that others change all the time."""
        self._last = ("", 0.0)
        self._looked = 0.0

    def settle(self, key: str, attempt: Callable[[], tuple[bool, T]]) -> T:
        """Repeat an attempt until it succeeds.

        :param attempt: returns whether it has succeeded, and its result.
        :returns: that result.
        :raises Deadlock: if an attempt for the same key, of the same thread, cannot end before.
        """
        if key in self._thread.keys:
            raise Deadlock(
                f"the key {key!r} is changed again and again in the middle of another change of "
                "it, by the same thread: the outer one cannot come to an end"
            )
        began = time.monotonic()
        if began < self._contended.get(key, 0):
            return self._settle_in_queue(key, attempt)
        for losses, pause in enumerate(pauses()):
            is_done, result = attempt()
            if is_done:
                self._look(key, began)
                return result
            if losses and time.monotonic() - began > fairness.LATE_SECONDS:
                break
            time.sleep(pause)
        return self._settle_in_queue(key, attempt)

    def _settle_in_queue(self, key: str, attempt: Callable[[], tuple[bool, T]]) -> T:
        record, nonce = Record(self._queues, key), secrets.token_urlsafe(9)
        if record.is_left():
            is_done, result = attempt()
            if is_done:
                with suppress(SharedStateError):  # The change is made, and the place has a lease.
                    record.end_slice()
                self._remember(key)
                return result
        is_holder = self._take(record, nonce, key)
        self._thread.keys.add(key)
        try:
            for pause in pauses():
                is_done, result = attempt()
                if is_done:
                    return result
                if not is_holder:
                    time.sleep(pause)
        finally:
            self._thread.keys.discard(key)
            if is_holder:
                with suppress(SharedStateError):  # It ends by itself.
                    record.release(nonce)
        raise AssertionError  # pragma: no cover - the pauses never end

    def _take(self, record: Record, nonce: str, key: str) -> bool:
        """Wait for the lock; returns whether this one holds it. The swap decides in any case."""
        with suppress(StoreFull, ValueTooLarge):
            if record.take(nonce, LEASE_SECONDS, 0):
                return True
            is_holder = record.take(nonce, LEASE_SECONDS, WAIT_SECONDS, lambda: self._present(key))
            self._remember(key)
            return is_holder
        return False

    def _present(self, key: str) -> bytes | None:
        return self._keyspace.store.values((self._keyspace.key(key),))[0]

    def _look(self, key: str, began: float) -> None:
        """Now and then, a caller that changes a key over and over looks whether others wait."""
        now = time.monotonic()
        last, ended = self._last
        self._last = (key, now)
        if last != key or began - ended > fairness.LATE_SECONDS:
            self._looked = now
        elif now - self._looked > fairness.LATE_SECONDS:
            self._looked = now
            with suppress(SharedStateError):  # The change is made.
                if self._queues.store.values((self._queues.key(key),))[0] is not None:
                    self._remember(key)

    def _remember(self, key: str) -> None:
        if len(self._contended) >= _MAX_CONTENDED:
            self._contended.clear()
        self._contended[key] = time.monotonic() + CONTENDED_SECONDS
