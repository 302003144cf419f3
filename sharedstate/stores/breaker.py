"""Keeps workers from waiting, one after the other, for a store that does not answer."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Sequence
from typing import Any, TypeVar

from ..errors import StoreUnavailable
from ..settings import Settings
from .base import Clock, Page, Store
from .operations import Operation, Record

R = TypeVar("R")

PROBE_SECONDS = 1.0


class Circuit:
    """Whether one server is worth asking."""

    def __init__(self) -> None:
        self._failure: str | None = None
        self._probe_at = 0.0
        self._tickets: dict[float, object] = {}

    def check(self, timeout: float) -> None:
        """Raise :exc:`StoreUnavailable` while it is open, but let one caller a second through."""
        if self._failure is None:
            return
        now, due, ticket = time.monotonic(), self._probe_at, object()
        # setdefault is atomic: of those who come when it is due, one finds its own ticket.
        if now < due or self._tickets.setdefault(due, ticket) is not ticket:
            raise StoreUnavailable(f"{self._failure} (tried again within a second)")
        self._probe_at = now + max(PROBE_SECONDS, timeout)
        self._tickets = {due: ticket}

    def open(self, failure: str) -> None:
        """Let nothing through for a second."""
        self._probe_at = time.monotonic() + PROBE_SECONDS
        self._failure = failure

    def close(self) -> None:
        """Let everything through."""
        self._failure = None


class Breaker(Store):
    """A store with a circuit breaker before each of its servers, for this process.

    A call that ends in :exc:`StoreUnavailable` opens it: for a second every call fails at once,
    without anything being sent. Then one call is let through to try: if it is answered, all are
    again, and if not, the next one may try a second later.
    """

    name = property(lambda self: self._store.name)
    scope = property(lambda self: self._store.scope)
    can = property(lambda self: self._store.can)

    def __init__(self, store: Store) -> None:
        self._store = store
        self._circuits: dict[Hashable, Circuit] = {}

    @classmethod
    def from_settings(cls, settings: Settings) -> Store:
        raise TypeError("a breaker is put before a store that exists")

    @property
    def timeout(self) -> float:  # type: ignore[override]
        return self._store.timeout

    @property
    def clock(self) -> Clock:
        return self._store.clock

    @clock.setter
    def clock(self, clock: Clock) -> None:
        self._store.clock = clock

    def transact(self, keys: Sequence[bytes], operation: Operation) -> Any:
        return self._guarded(keys, self._store.transact, keys, operation)

    def read(self, keys: Sequence[bytes]) -> list[Record | None]:
        return self._guarded(keys, self._store.read, keys)

    def values(self, keys: Sequence[bytes]) -> list[bytes | None]:
        return self._guarded(keys, self._store.values, keys)

    def page(self, prefix: bytes, cursor: str | None, limit: int) -> Page:
        return self._guarded((), self._store.page, prefix, cursor, limit)

    def clear(self, prefix: bytes) -> None:
        self._guarded((), self._store.clear, prefix)

    def ping(self) -> None:
        self._guarded((), self._store.ping)

    def describe(self) -> dict[str, Any]:
        return self._store.describe()

    def measure(self) -> dict[str, int]:
        return self._guarded((), self._store.measure)

    def purge(self) -> int:
        return self._guarded((), self._store.purge)

    def close(self) -> None:
        self._store.close()

    def _guarded(self, keys: Sequence[bytes], call: Callable[..., R], *arguments: Any) -> R:
        circuits = [self._circuit(home) for home in self._store.homes(keys)] if keys else []
        circuits = circuits or [self._circuit(_WHOLE)]
        for circuit in circuits:
            circuit.check(self.timeout)
        try:
            answer = call(*arguments)
        except StoreUnavailable as error:
            for circuit in circuits:
                circuit.open(str(error))
            raise
        for circuit in circuits:
            circuit.close()
        return answer

    def _circuit(self, home: Hashable) -> Circuit:
        return self._circuits.setdefault(home, Circuit())


_WHOLE = ""
"""The home of what asks all servers, which is that of all keys where there is only one server."""
