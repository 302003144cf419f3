"""Keeps workers from waiting, one after the other, for a store that does not respond."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any, TypeVar

from ...errors import Overloaded, StoreUnavailable
from ..base import Done, Store
from ..operations import Operation
from .guard import Interrupted, Wrapper

R = TypeVar("R")

PROBE_SECONDS = 1.0


class Circuit:
    """A server that did not respond, and when it is worth asking again."""

    def __init__(self) -> None:
        self._failure = ""
        self._probe_at = 0.0
        self._tickets: dict[float, object] = {}

    def check(self, timeout: float) -> None:
        """Raise :exc:`StoreUnavailable` while it is open, but let one caller a second through."""
        due, now, ticket = self._probe_at, time.monotonic(), object()
        # setdefault is atomic: of those who come when it is due, one finds its own ticket.
        if now < due or self._tickets.setdefault(due, ticket) is not ticket:
            raise StoreUnavailable(f"{self._failure} (tried again within a second)")
        self._probe_at = now + max(PROBE_SECONDS, timeout)
        self._tickets = {due: ticket}

    def open(self, failure: str) -> None:
        """Let nothing through for a second."""
        self._probe_at = time.monotonic() + PROBE_SECONDS
        self._failure = failure


class Breaker(Wrapper):
    """A store with a circuit breaker before each of its servers, for this process.

    A call that ends in :exc:`StoreUnavailable` opens it: for a second every call fails at once,
    without anything being sent. Then one call is let through to try: if it succeeds, all are let
    through again, and if not, the next one may try a second later.
    """

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        # Of the servers that did not respond when they were last asked.
        self._circuits: dict[Hashable, Circuit] = {}

    def submit(self, keys: Sequence[bytes], operation: Operation, done: Done) -> None:
        try:
            servers = self._check(keys)
        except StoreUnavailable as error:
            done(None, error)
            return

        def heard(result: Any, error: BaseException | None) -> None:
            if error is None:
                self._close(servers)
            elif isinstance(error, StoreUnavailable):
                self._open(keys, error)
            done(result, error)

        self._store.submit(keys, operation, heard)

    def _call(self, keys: Sequence[bytes], method: Callable[..., R], *arguments: Any) -> R:
        servers = self._check(keys) if self._circuits else ()
        try:
            result = method(*arguments)
        except StoreUnavailable as error:
            self._open(keys, error)
            raise
        if servers:
            self._close(servers)
        return result

    def _check(self, keys: Sequence[bytes]) -> Iterable[Hashable]:
        """The servers of these keys; raises if one is known not to respond."""
        servers = self._servers_of(keys) if self._circuits else ()
        for server in servers:
            circuit = self._circuits.get(server)  # Another thread may close it at any moment.
            if circuit is not None:
                circuit.check(self.timeout)
        return servers

    def _open(self, keys: Sequence[bytes], error: StoreUnavailable) -> None:
        if not isinstance(error, (Overloaded, Interrupted)):  # They say nothing of a server.
            for server in self._servers_of(keys):
                self._circuits.setdefault(server, Circuit()).open(str(error))

    def _close(self, servers: Iterable[Hashable]) -> None:
        for server in servers:
            self._circuits.pop(server, None)

    def _servers_of(self, keys: Sequence[bytes]) -> Iterable[Hashable]:
        return self._store.servers_of(keys) if keys else _WHOLE


_WHOLE = ("",)
"""Stands for all servers, and for the one server of a store that has only one."""
