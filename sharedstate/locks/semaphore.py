"""A semaphore with leases: at most so many holders at a time, among all that share the store."""

from __future__ import annotations

import random
import secrets
import time
from contextlib import suppress
from typing import Self

from ..codec import TEXTS
from ..errors import SharedStateError
from . import fairness
from .fairness import Record
from .held import Held, StateLike

MAX_LIMIT = 256

_QUEUE_LEASE = 2.0


class Semaphore(Held):
    """What at most ``limit`` clients at a time hold, on whatever processes or hosts they run.

    ::

        with cache.semaphore("reports", limit=3):
            write_report()

    Each holder has a place of its own, which ends with its lease by the store's clock, whatever the
    clocks of the clients show. A client that finds no place free waits in the queue of a lock, and
    the first in it has the next one::

        "0 reports"   "token of A"     A's place
        "1 reports"   "token of B"     B's place
        "- reports"   "c d e"          c looks for a free place; d and e are next

    :param limit: from 1 to 256; the same for all that use this name.
    :param lease: seconds, from 0.01 to a day, after which a place is free unless it is renewed.
    :param wait: seconds to wait for a place; 0 tries once.
    :param renew: whether it is renewed in the background for as long as this object holds it.
    """

    _noun = "semaphore"

    def __init__(
        self,
        state: StateLike,
        name: str,
        limit: int,
        *,
        lease: float = 30,
        wait: float = 10,
        renew: bool = False,
    ) -> None:
        super().__init__(name, lease, wait, renew)
        if type(limit) is not int or not 1 <= limit <= MAX_LIMIT:
            raise ValueError(f"the limit of a semaphore is 1 to {MAX_LIMIT}, not {limit!r}")
        space = self._space = state.namespace("semaphore", TEXTS).keyspace
        self._queue = f"- {name}"
        self._places = [f"{number} {name}" for number in range(limit)]
        self._keys = [space.key(key) for key in (self._queue, *self._places)]

    def acquire(self) -> Self:
        """Wait for a place and hold it, in the order of coming.

        :returns: this object.
        :raises LockTimeout: if others held all of them for ``wait`` seconds.
        :raises RuntimeError: if this object holds one already.
        """
        if not (self.try_acquire() or (self.wait > 0 and self._wait())):
            raise self._timeout()
        return self

    def try_acquire(self) -> bool:
        """Hold a place if one is free and nobody waits for it.

        :returns: whether this object holds one now.
        :raises RuntimeError: if this object holds one already.
        """
        self._refuse_twice()
        queue, *places = self._space.store.values(self._keys)
        return queue is None and self._take(places)

    def holders(self) -> int:
        """Return how many hold it at present."""
        _, *places = self._space.store.values(self._keys)
        return sum(token is not None for token in places)

    def _take(self, places: list[bytes | None]) -> bool:
        """Hold one of the places that were free just now, if one still is."""
        free = [key for key, token in zip(self._places, places, strict=True) if token is None]
        random.shuffle(free)  # So that not all try for the same one.
        for key in free:
            token, began = secrets.token_urlsafe(16), time.monotonic()
            record = Record(self._space, key)
            if record.add(token, self.lease):
                self._record = record
                self._begin(token, began)
                return True
        return False

    def _wait(self) -> bool:
        deadline = time.monotonic() + self.wait
        queue, nonce = Record(self._space, self._queue), secrets.token_urlsafe(9)
        if not queue.take(nonce, _QUEUE_LEASE, self.wait):
            return False
        try:
            return self._poll(queue, nonce, deadline)
        finally:
            with suppress(SharedStateError):  # It ends by itself.
                queue.release(nonce)

    def _poll(self, queue: Record, nonce: str, deadline: float) -> bool:
        """As the first in the queue, look for a free place. Each is given once in any case."""
        began = renewed = time.monotonic()
        while True:
            _, *places = self._space.store.values(self._keys)
            if self._take(places):
                return True
            now = time.monotonic()
            if now >= deadline:
                return False
            if now - renewed > _QUEUE_LEASE / 4:
                queue.replace(nonce, nonce, _QUEUE_LEASE)
                renewed = now
            time.sleep(min(fairness.pause(now - began), deadline - now))
