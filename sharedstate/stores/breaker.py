"""Keeps workers from waiting, one after the other, for a store that does not answer."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any, TypeVar

from ..errors import StoreUnavailable
from ..settings import Settings
from .base import Clock, Page, Store
from .operations import Operation, Record

R = TypeVar("R")

PROBE_SECONDS = 1.0


class Circuit:
    """A server that did not answer, and when it is worth asking again."""

    def __init__(self) -> None:
        self._failure = ""
        self._probe_at = 0.0
        self._tickets: dict[float, object] = {}

    def check(self, timeout: float) -> None:
        """Raise :exc:`StoreUnavailable` while it is open, but let one caller a second through."""
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
        # Of the servers that did not answer when they were last asked.
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
        homes = self._homes(keys) if self._circuits else ()
        for circuit in [self._circuits[home] for home in homes if home in self._circuits]:
            circuit.check(self.timeout)
        try:
            answer = call(*arguments)
        except StoreUnavailable as error:
            for home in self._homes(keys):
                self._circuits.setdefault(home, Circuit()).open(str(error))
            raise
        for home in homes:
            self._circuits.pop(home, None)
        return answer

    def _homes(self, keys: Sequence[bytes]) -> Iterable[Hashable]:
        return self._store.homes(keys) if keys else _WHOLE


_WHOLE = ("",)
"""The home of what asks all servers, which is that of all keys where there is only one server."""
