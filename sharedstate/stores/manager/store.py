"""``manager``: the records in the memory of a process of their own, which others talk to.

What :class:`multiprocessing.managers.BaseManager` is for, without what is wrong with it here: one
message an operation instead of a lock, a get, a set and an unlock; no pickle; and a result or an
error in bounded time.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any
from urllib.parse import unquote
from weakref import finalize

from ...errors import ConfigurationError, StoreUnavailable, ValueTooLarge
from ...settings import Settings, checked
from ..base import Page, Store
from ..operations import Increment, Operation, Record
from ..support.addresses import URL, addresses, malformed, parsed
from ..support.directory import data_directory
from . import messages
from .client import Connection, NotRunning
from .endpoints import Endpoint, Local, Remote
from .messages import Result, dumped, shifted, shifted_record
from .pool import Pool
from .protocol import MAX_REQUEST_BYTES, BadMessage, TooLong, pack
from .server import run_foreground

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
        super().__init__(**options)
        self.endpoint = endpoint
        self.scope = endpoint.scope
        self._instance: bytes | None = None
        self._open()

    @classmethod
    def from_settings(cls, settings: Settings) -> ManagerStore:
        return cls(_endpoint(settings), timeout=settings["CACHE_TIMEOUT"])

    def transact(self, keys: Sequence[bytes], operation: Operation) -> Any:
        if type(operation) is Increment and len(keys) == 1:
            return self._ask(_increment(keys[0], operation), writes=True).value
        request = _packed(messages.Transact(list(keys), dumped(operation)))
        reply = self._ask(request, writes=operation.writes)
        return shifted(operation, reply.value, self.clock() - reply.now)

    def read(self, keys: Sequence[bytes]) -> list[Record | None]:
        reply = self._ask(_read(keys[0]) if len(keys) == 1 else _packed(messages.Read(list(keys))))
        ahead = self.clock() - reply.now
        return [shifted_record(record, ahead) for record in reply.value]

    def sizes(self, keys: Sequence[bytes]) -> list[int]:
        sizes: list[int] = self._ask(_packed(messages.Sizes(list(keys)))).value
        return sizes

    def page(self, prefix: bytes, cursor: str | None, limit: int) -> Page:
        keys, following = self._ask(_packed(messages.Page(prefix, cursor, limit))).value
        return keys, following

    def clear(self, prefix: bytes) -> None:
        self._ask(_packed(messages.Clear(prefix)), writes=True)

    def ping(self) -> None:
        self._ask(_packed(messages.Ping()))

    def describe(self) -> dict[str, Any]:
        return {
            "location": self.endpoint.location(),
            "durability": "none: lost when the manager process ends",
        }

    def close(self) -> None:
        self._pool.clear()

    def after_fork_in_child(self) -> None:
        self._closer.detach()
        self._pool.forget()
        self.endpoint.after_fork_in_child()
        self._open()

    def _open(self) -> None:
        self._pool = Pool(partial(self.endpoint.connect, self.timeout))
        self._closer = finalize(self, self._pool.clear)

    def _ask(self, request: bytes, *, writes: bool = False) -> Result:
        pool = self._pool
        connection = self._take(pool)
        try:
            reply = connection.ask(request)
        except BaseException as error:
            pool.drop(connection)
            if isinstance(error, (OSError, BadMessage)):
                raise self._unavailable(error, writes and connection.sent) from error
            raise
        pool.give_back(connection)
        if isinstance(reply, messages.Failure):
            raise reply.error()
        return reply

    def _take(self, pool: Pool) -> Connection:
        try:
            connection = pool.take()
        except OSError as error:
            raise self._unavailable(error) from error
        known = self._instance
        if connection.instance == known:
            return connection
        self._instance = connection.instance
        if known is None:
            return connection
        pool.give_back(connection)
        raise StoreUnavailable(
            f"the manager at {self.endpoint.location()} is another one than before, and began "
            "empty: what was stored is gone; the next operation goes on with the new one"
        )

    def _unavailable(self, error: Exception, outcome_unknown: bool = False) -> StoreUnavailable:
        if isinstance(error, TimeoutError):
            reason = f"no response within {self.timeout:g} seconds"
        elif isinstance(error, NotRunning):
            reason = "it is not running"
        else:
            reason = str(error)
        return StoreUnavailable(
            f"the manager at {self.endpoint.location()} is not available: {reason}",
            outcome_unknown=outcome_unknown,
        )


def run_manager(settings: Settings) -> None:
    """Run the manager that these settings lead to, in the foreground, until SIGTERM or SIGINT.

    :raises ConfigurationError: if it cannot listen there, or another one does.
    """
    settings = checked(settings)
    endpoint = _endpoint(settings)
    max_bytes = settings["CACHE_MAX_BYTES"]
    if isinstance(endpoint, Remote):
        run_foreground(endpoint.address, endpoint.authkey, max_bytes=max_bytes)
    elif isinstance(endpoint, Local):
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
    host, port = addresses(parts.hosts, 0, "CACHE_URL")[0] if parts.hosts else ("", 0)
    if not port or parts.user or "," in parts.hosts or parts.path.strip("/"):
        raise malformed("CACHE_URL", _EXAMPLE)
    authkey = parts.password or settings["CACHE_MANAGER_AUTHKEY"]
    if not authkey:
        raise ConfigurationError(
            "a manager on the network needs its authkey: put it into the URL, "
            "manager://:authkey@host:port, or set CACHE_MANAGER_AUTHKEY"
        )
    return Remote(host, port, authkey if isinstance(authkey, bytes) else str(authkey).encode())


def _packed(request: messages.Request) -> bytes:
    try:
        return pack(request)
    except TooLong as error:
        raise ValueTooLarge(error.size, MAX_REQUEST_BYTES) from error


# Both are pure functions of what callers mostly repeat.


@lru_cache(maxsize=1024)
def _increment(key: bytes, increment: Increment) -> bytes:
    return _packed(messages.Transact([key], dumped(increment)))


@lru_cache(maxsize=1024)
def _read(key: bytes) -> bytes:
    return _packed(messages.Read([key]))
