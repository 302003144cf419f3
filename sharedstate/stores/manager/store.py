"""``manager``: the records in the memory of a process of their own, which others talk to.

What :class:`multiprocessing.managers.BaseManager` is for, without what is wrong with it here: one
message an operation instead of a lock, a get, a set and an unlock; no pickle; and a result or an
error in bounded time.
"""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote
from weakref import finalize

from ...errors import ConfigurationError, StoreUnavailable
from ...settings import Settings, checked
from ..base import Page, Scope, Store, now
from ..operations import Batch, Increment, Operation, Record
from ..support.addresses import URL, addresses, malformed, parsed, shown
from ..support.directory import data_directory
from .client import Connection
from .local import Local
from .wire import replied, request, request_to

FILE_NAME = "sharedstate.manager"
_EXAMPLE = "manager:///path/to/socket or manager://:authkey@host:port"


class ManagerStore(Store):
    """A :class:`MemoryStore` in a manager's process.

    The state lives as long as that process does, whatever becomes of the workers, and is gone
    with it. A client that has talked to a manager and finds another one in its place gets
    :exc:`StoreUnavailable` once: its numbers begin anew.

    :param endpoint: where the manager is.
    """

    name = "manager"
    has_server = True

    def __init__(self, endpoint: Endpoint, **options: Any) -> None:
        self._clock = _Clock()
        super().__init__(clock=self._clock, **options)
        self.endpoint = endpoint
        self.scope = endpoint.scope
        self._instance: bytes | None = None
        self._idle: deque[Connection] = deque()
        finalize(self, _close_all, self._idle)

    @classmethod
    def from_settings(cls, settings: Settings) -> ManagerStore:
        return cls(_endpoint(settings), timeout=settings["CACHE_TIMEOUT"])

    def transact(self, keys: Sequence[bytes], operation: Operation) -> Any:
        if type(operation) is Increment and len(keys) == 1:
            return self._ask(_repeated(keys[0], operation), writes=True)
        result = self._ask(request_to(operation, keys), writes=operation.writes)
        # MessagePack has one kind of array, and only a batch returns a list.
        return tuple(result) if type(result) is list and type(operation) is not Batch else result

    def read(self, keys: Sequence[bytes]) -> list[Record | None]:
        return list(self._ask(_repeated(keys[0]) if len(keys) == 1 else request("read", keys)))

    def sizes(self, keys: Sequence[bytes]) -> list[int]:
        return list(self._ask(request("sizes", keys)))

    def page(self, prefix: bytes, cursor: str | None, limit: int) -> Page:
        keys, following = self._ask(request("page", prefix, cursor, limit))
        return keys, following

    def clear(self, prefix: bytes) -> None:
        self._ask(request("clear", prefix), writes=True)

    def ping(self) -> None:
        self._ask(request("ping"))

    def describe(self) -> dict[str, Any]:
        return {
            "location": self.endpoint.location(),
            "durability": "none: lost when the manager process ends",
        }

    def close(self) -> None:
        _close_all(self._idle)

    def after_fork_in_child(self) -> None:
        self.close()

    def _ask(self, message: bytes, *, writes: bool = False) -> Any:
        connection = self._connection()
        try:
            reply = replied(connection.ask(message))
        except OSError as error:
            # The idle ones lead to the same manager.
            connection.close()
            self.close()
            raise self._unavailable(error, writes and connection.sent) from error
        except BaseException:
            connection.close()
            raise
        self._idle.append(connection)
        self._clock.ahead = reply.now - now()
        return reply.result()

    def _connection(self) -> Connection:
        """One that no other thread uses, to be given back if nothing goes wrong."""
        try:
            return self._idle.pop()
        except IndexError:
            return self._connected()

    def _connected(self) -> Connection:
        try:
            connection = self.endpoint.connect(self.timeout)
        except OSError as error:
            raise self._unavailable(error) from error
        known, self._instance = self._instance, connection.instance
        if known in (None, connection.instance):
            return connection
        self._idle.append(connection)
        raise StoreUnavailable(
            f"the manager at {self.endpoint.location()} is another one than before, and began "
            "empty: what was stored is gone; the next operation goes on with the new one"
        )

    def _unavailable(self, error: OSError, outcome_unknown: bool = False) -> StoreUnavailable:
        is_late = isinstance(error, TimeoutError)
        reason = f"no response within {self.timeout:g} seconds" if is_late else error
        return StoreUnavailable(
            f"the manager at {self.endpoint.location()} is not available: {reason}",
            outcome_unknown=outcome_unknown,
        )


class _Clock:
    """The manager's time, by its last reply: those of two hosts are never the same."""

    ahead = 0.0

    def __call__(self) -> float:
        return now() + self.ahead


class Remote:
    """A manager at a host and port, which a supervisor runs."""

    scope: Scope = "network"

    def __init__(self, address: tuple[str, int], authkey: bytes) -> None:
        self.address = address
        self.authkey = authkey

    def connect(self, timeout: float) -> Connection:
        return Connection(self.address, lambda: self.authkey, timeout)

    def location(self) -> str:
        return f"manager://{shown([self.address])}"


Endpoint = Local | Remote


def run_manager(settings: Settings) -> None:
    """Run the manager that these settings lead to, in the foreground, until SIGTERM or SIGINT.

    :raises ConfigurationError: if it cannot listen there, or another one does.
    """
    from .server import run_foreground

    settings = checked(settings)
    endpoint = _endpoint(settings)
    max_bytes = settings["CACHE_MAX_BYTES"]
    if isinstance(endpoint, Remote):
        run_foreground(endpoint.address, endpoint.authkey, max_bytes=max_bytes)
    else:
        run_foreground(endpoint.path, max_bytes=max_bytes)


def _endpoint(settings: Settings) -> Endpoint:
    """What ``CACHE_URL``, or ``CACHE_DIR``, leads to."""
    url = settings["CACHE_URL"]
    parts = parsed(url, "CACHE_URL", _EXAMPLE) if url and url != "manager:" else None
    if parts and (parts.hosts or parts.user or parts.password):
        return _remote(parts, settings)
    if not hasattr(socket, "AF_UNIX"):
        raise ConfigurationError(
            "this system has no sockets with a path: set CACHE_URL to manager://:authkey@host:port"
        )
    named = parts and unquote(parts.path)
    path = Path(named) if named else data_directory(settings) / FILE_NAME
    return Local(path, settings["CACHE_MAX_BYTES"])


def _remote(parts: URL, settings: Settings) -> Remote:
    address = addresses(parts.hosts, 0, "CACHE_URL")[0] if parts.hosts else ("", 0)
    if not address[1] or parts.user or "," in parts.hosts or parts.path.strip("/"):
        raise malformed("CACHE_URL", _EXAMPLE)
    authkey = parts.password or settings["CACHE_MANAGER_AUTHKEY"]
    if not authkey:
        raise ConfigurationError(
            "a manager on the network needs its authkey: put it into the URL, "
            "manager://:authkey@host:port, or set CACHE_MANAGER_AUTHKEY"
        )
    return Remote(address, authkey if isinstance(authkey, bytes) else str(authkey).encode())


@lru_cache(maxsize=1024)
def _repeated(key: bytes, increment: Increment | None = None) -> bytes:
    """The request for an increment, or for a record; callers mostly repeat theirs."""
    return request_to(increment, [key]) if increment else request("read", [key])


def _close_all(connections: deque[Connection]) -> None:
    with suppress(IndexError):
        while True:
            connections.pop().close()
