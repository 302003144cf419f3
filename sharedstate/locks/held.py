"""What is held for a lease: renewed, released, or lost."""

from __future__ import annotations

import os
import threading
import time
from abc import ABC, abstractmethod
from types import TracebackType
from typing import ClassVar, Protocol, Self
from weakref import finalize

from ..codec import Codec
from ..errors import LockLost, LockTimeout, SharedStateError
from ..keyspace import Keyspace
from .fairness import Record
from .renewal import SAFE, Renewal

MAX_LEASE = 24 * 3600.0


class StateLike(Protocol):
    """What locks and semaphores need of a :class:`State`."""

    @property
    def keyspace(self) -> Keyspace: ...

    def namespace(self, name: str, codec: Codec | None = None) -> Self: ...

    def inc(self, key: str, *, timeout: float) -> int: ...

    def ttl(self, key: str) -> float | None: ...


class Held(ABC):
    """What a lock and a semaphore have in common: one record that says who holds it."""

    _noun: ClassVar[str]
    _record: Record

    def __init__(self, name: str, lease: float, wait: float, renew: bool) -> None:
        self.name = name
        self.lease = checked_lease(lease)
        self.wait = wait
        self.token: str | None = None
        """What proves who holds it; ``None`` while this object does not.

        An object for the same name that is given it holds the lock as well.
        """
        self._renews = renew
        self._lost_event: threading.Event | None = None
        self._renewal: Renewal | None = None
        self._forgotten: finalize[..., Held]
        self._until = 0.0
        self._process = 0

    @abstractmethod
    def acquire(self) -> Self:
        """Wait for it and hold it."""

    @property
    def lost(self) -> threading.Event:
        """Set when it is known to be lost; with ``renew``, before the lease ends."""
        if self._lost_event is None:  # Most locks need none.
            self._lost_event = threading.Event()
        return self._lost_event

    @property
    def is_held(self) -> bool:
        """Whether this object certainly holds it, by the clock of this process alone.

        ``False`` for the last tenth of a lease, and in a child of the process that holds it.
        """
        renewal, lost = self._renewal, self._lost_event
        until = renewal.until if renewal else self._until
        return (
            self.token is not None
            and self._process == os.getpid()
            and time.monotonic() < until
            and not (lost is not None and lost.is_set())
        )

    def renew(self, lease: float | None = None) -> None:
        """Hold it for another lease from now.

        :param lease: seconds, from 0.01 to a day; its own lease if left out.
        :raises LockLost: if the lease had ended; another client may hold it.
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
        """End holding it, so that the next waiter gets it.

        :raises LockLost: if the lease had ended; what another client holds is left alone.
        """
        if not self._release(self._held()):
            raise self._lost()

    def discard(self) -> None:
        """Like :meth:`release`, but it is no error if it is not held any more."""
        if self.token is not None:
            self._release(self.token)

    def __enter__(self) -> Self:
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
            error.add_note(f"the {self._noun} {self.name!r} could not be released: {failed}")

    def _refuse_twice(self) -> None:
        if self.token is not None:
            raise RuntimeError(f"this object holds the {self._noun} {self.name!r} already")

    def _begin(self, token: str, began: float) -> None:
        """Hold it as ``token``, since the monotonic time ``began``."""
        self.token, self._process = token, os.getpid()
        self._until = began + SAFE * self.lease
        if self._lost_event is not None and self._lost_event.is_set():
            self._lost_event = None
        if not self._renews:
            return
        # It must not hold this object: a lock that nobody has any more ends with its lease.
        record, lease = self._record.copy(), self.lease
        self._renewal = Renewal(
            lambda: record.replace(token, token, lease), lease, began, self.lost.set
        )
        self._forgotten = finalize(self, self._renewal.stop)
        self._forgotten.atexit = False

    def _end(self) -> None:
        self.token = None
        if self._renewal is not None:
            self._forgotten()  # Stops it, and is forgotten itself.
            self._renewal = None

    def _held(self) -> str:
        if self.token is None:
            raise self._lost()
        return self.token

    def _release(self, held: str) -> bool:
        self._end()
        return self._record.release(held)

    def _lost(self) -> LockLost:
        self.lost.set()
        return LockLost(
            f"the {self._noun} {self.name!r} is not held any more, or never was: its lease may "
            "have ended, and others may have held it"
        )

    def _timeout(self) -> LockTimeout:
        return LockTimeout(
            f"the {self._noun} {self.name!r} was held by others for {self.wait} seconds"
        )


def checked_lease(lease: float) -> float:
    """The lease in seconds.

    :raises TypeError: if it is no number.
    :raises ValueError: unless it is 0.01 seconds to a day.
    """
    if not isinstance(lease, (int, float)):
        raise TypeError(f"a lease is a number of seconds, not {type(lease).__name__}")
    if not 0.01 <= lease <= MAX_LEASE:
        raise ValueError(f"a lease is 0.01 to {MAX_LEASE:,.0f} seconds, not {lease!r}")
    return float(lease)
