"""A lease lock, built on the contract alone."""

from __future__ import annotations

import os
import secrets
import threading
import time
from typing import Self
from weakref import WeakValueDictionary

from ..errors import Deadlock
from .fairness import Record
from .held import Held, StateLike

FENCES, ALL_LOCKS = "fence", "all locks"
"""The namespace and the key of the counter from which the locks of a state draw their fences."""


class _Thread(threading.local):
    """The locks that this thread, or greenlet, has acquired and that still exist."""

    def __init__(self) -> None:
        self.locks: WeakValueDictionary[tuple[int, bytes], Lock] = WeakValueDictionary()


_thread = _Thread()


class Lock(Held):
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

    _noun = "lock"

    def __init__(
        self,
        state: StateLike,
        name: str,
        *,
        lease: float = 30,
        wait: float = 10,
        renew: bool = False,
    ) -> None:
        super().__init__(name, lease, wait, renew)
        self.fence = 0
        """A number that grows with each holder."""
        self._state = state
        self._record = Record(state.keyspace, name)

    def acquire(self) -> Self:
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
                raise self._timeout()
        return self

    def try_acquire(self) -> bool:
        """Hold the lock if it is free, without waiting.

        :returns: whether this object holds it now.
        :raises RuntimeError: if this object holds it already.
        """
        return self._acquire(0)

    def _acquire(self, wait: float) -> bool:
        self._refuse_twice()
        nonce = secrets.token_urlsafe(16)
        if not self._record.take(nonce, self.lease, wait):
            return False
        fence = self._state.namespace(FENCES).inc(ALL_LOCKS, timeout=0)
        token = f"{nonce}.{fence}"
        began = time.monotonic()
        if not self._record.replace(nonce, token, self.lease):
            return False
        self.fence = fence
        self._begin(token, began)
        _thread.locks[self._record.place] = self
        return True

    def is_held_by_this_thread(self) -> bool:
        """Return whether another object of this thread, or greenlet, holds the lock.

        To wait for it would not end.
        """
        other = _thread.locks.get(self._record.place)
        if other is None or other.token is None or other._process != os.getpid():
            return False
        return other.token in self._record.read()[:1]

    def remaining(self) -> float | None:
        """Return how long the lock will be held unless it is renewed or released.

        :returns: seconds until the holder's lease ends, ``None`` if the lock is free.
        """
        return self._state.ttl(self.name)
