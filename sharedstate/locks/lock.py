"""A lease lock, built on the contract alone."""

from __future__ import annotations

import os
import secrets
import threading
import time
from types import TracebackType
from typing import Protocol, Self
from weakref import WeakValueDictionary, finalize

from ..errors import Deadlock, LockLost, LockTimeout, SharedStateError
from ..keyspace import Keyspace
from .fairness import Record
from .renewal import SAFE, Renewal

MAX_LEASE = 24 * 3600.0


class Shared(Protocol):
    """What a lock needs of a :class:`State`."""

    @property
    def keyspace(self) -> Keyspace: ...

    def namespace(self, name: str) -> Self: ...

    def inc(self, key: str, *, timeout: float) -> int: ...

    def ttl(self, key: str) -> float | None: ...


class _Thread(threading.local):
    """The locks that this thread, or greenlet, has acquired and that still exist."""

    def __init__(self) -> None:
        self.locks: WeakValueDictionary[tuple[int, bytes], Lock] = WeakValueDictionary()


_thread = _Thread()


class Lock:
    """A lock that one client at a time holds, on whatever process or host it runs.

    ::

        with cache.lock("report", lease=60) as lock:
            write_report(fence=lock.fence)

    The holder has it until it releases it or the lease ends, whichever comes first, so that the
    lock of a client that died becomes free. A holder that may take longer calls :meth:`renew`. One
    that is stopped for longer than its lease does not notice; whatever it writes to should refuse
    a ``fence`` lower than one it has seen: each holder's fence is higher than all before::

        A  add(token a) ── fence 7 ── confirm a ── works … stopped …… writes with 7: refused
        B                                      (lease ends) add(token b) ── fence 8 ── writes with 8

    The fence is drawn while a nonce is in place, and holding is confirmed after that: a client
    that lost its lease between the two begins again, so that fences grow in the order of holding.

    :param lease: seconds, from 0.01 to a day.
    :param wait: seconds to wait for others to release it; 0 tries once.
    :param renew: whether it is renewed in the background for as long as this object holds it.
    """

    def __init__(
        self,
        state: Shared,
        name: str,
        *,
        lease: float = 30,
        wait: float = 10,
        renew: bool = False,
    ) -> None:
        self.name = name
        self.lease = checked_lease(lease)
        self.wait = wait
        self.token: str | None = None
        """What proves who holds it; ``None`` while this object does not.

        An object for the same name that is given it holds the lock as well.
        """
        self.fence = 0
        """A number that grows with each holder."""
        self.lost = threading.Event()
        """Set when it is known that the lock was lost; with ``renew``, before the lease ends."""
        self._renews = renew
        self._renewal: Renewal | None = None
        self._until = 0.0
        self._state = state
        self._record = Record(state.keyspace, name)
        self._process = 0

    def acquire(self) -> Lock:
        """Wait for the lock and hold it.

        Waiters get it in the order in which they came, once they have waited for 10 ms.

        :returns: this object.
        :raises LockTimeout: if others held it for ``wait`` seconds.
        :raises Deadlock: at once, if another object of this thread holds it.
        :raises RuntimeError: if this object holds it already.
        """
        deadline = time.monotonic() + self.wait
        if self.wait > 0:
            if self.try_acquire():
                return self
            if self.is_held_by_this_thread():
                raise Deadlock(
                    f"this thread holds the lock {self.name!r} already, by another object: use "
                    "that one, or release it first"
                )
        while not self._acquire(deadline - time.monotonic()):
            if time.monotonic() >= deadline:
                raise LockTimeout(
                    f"the lock {self.name!r} was held by others for {self.wait} seconds"
                )
        return self

    def try_acquire(self) -> bool:
        """Hold the lock if it is free, without waiting.

        :returns: whether this object holds it now.
        :raises RuntimeError: if this object holds it already.
        """
        return self._acquire(0)

    def _acquire(self, wait: float) -> bool:
        if self.token is not None:
            raise RuntimeError(f"this object holds the lock {self.name!r} already")
        nonce = secrets.token_urlsafe(16)
        if not self._record.take(nonce, self.lease, wait):
            return False
        fence = self._state.namespace("fence").inc("all locks", timeout=0)
        token = f"{nonce}.{fence}"
        began = time.monotonic()
        if not self._record.replace(nonce, token, self.lease):
            return False
        self.token, self.fence, self._process = token, fence, os.getpid()
        self._until = began + SAFE * self.lease
        _thread.locks[self._record.place] = self
        if self.lost.is_set():
            self.lost = threading.Event()
        if self._renews:
            self._begin_renewal(token, began)
        return True

    def _begin_renewal(self, token: str, began: float) -> None:
        # It must not hold this object: a lock that nobody has any more ends with its lease.
        record, lease = Record(self._state.keyspace, self.name), self.lease
        self._renewal = Renewal(
            lambda: record.replace(token, token, lease), lease, began, self.lost.set
        )
        finalize(self, self._renewal.stop).atexit = False

    @property
    def is_held(self) -> bool:
        """Whether this object certainly holds it, by the clock of this process alone.

        ``False`` for the last tenth of a lease, and in a child of the process that holds it.
        """
        renewal = self._renewal
        until = renewal.until if renewal else self._until
        return (
            self.token is not None
            and self._process == os.getpid()
            and time.monotonic() < until
            and not self.lost.is_set()
        )

    def is_held_by_this_thread(self) -> bool:
        """Return whether another object of this thread, or greenlet, holds the lock.

        To wait for it would not end.
        """
        other = _thread.locks.get(self._record.place)
        if other is None or other.token is None or other._process != os.getpid():
            return False
        return other.token in self._record.read()[:1]

    def renew(self, lease: float | None = None) -> None:
        """Hold it for another lease from now.

        :param lease: seconds, from 0.01 to a day; the lock's own lease if left out.
        :raises LockLost: if the lease had ended; another client may hold the lock.
        """
        seconds = self.lease if lease is None else checked_lease(lease)
        held, began = self._held(), time.monotonic()
        if not self._record.replace(held, held, seconds):
            self._end()
            raise self._lost()
        self._until, self._process = began + SAFE * seconds, os.getpid()
        if self._renewal is not None:
            self._renewal.until = self._until

    def release(self) -> None:
        """End holding the lock, so that the next waiter gets it.

        :raises LockLost: if the lease had ended; another client's lock is left alone.
        """
        if not self._release(self._held()):
            raise self._lost()

    def discard(self) -> None:
        """Like :meth:`release`, but a lock that is not held any more is no error."""
        if self.token is not None:
            self._release(self.token)

    def remaining(self) -> float | None:
        """Return how long the lock will be held unless it is renewed or released.

        :returns: seconds until the holder's lease ends, ``None`` if the lock is free.
        """
        return self._state.ttl(self.name)

    def __enter__(self) -> Lock:
        return self.acquire()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            self.release()
            return
        try:
            self.discard()
        except SharedStateError as failed:
            error.add_note(f"the lock {self.name!r} could not be released: {failed}")

    def _held(self) -> str:
        if self.token is None:
            raise self._lost()
        return self.token

    def _release(self, held: str) -> bool:
        self._end()
        return self._record.release(held)

    def _end(self) -> None:
        self.token = None
        if self._renewal is not None:
            self._renewal.stop()
            self._renewal = None

    def _lost(self) -> LockLost:
        self.lost.set()
        return LockLost(
            f"the lock {self.name!r} is not held any more, or never was: its lease may have ended, "
            "and others may have held it"
        )


def checked_lease(lease: float) -> float:
    """The lease in seconds; :exc:`ValueError` unless it is 0.01 seconds to a day."""
    if not 0.01 <= lease <= MAX_LEASE:
        raise ValueError(f"a lease is 0.01 to {MAX_LEASE:,.0f} seconds, not {lease!r}")
    return float(lease)
