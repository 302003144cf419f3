"""``redis``: the records on a Redis or Valkey server, shared by all that reach it.

Every operation is one round trip, and so are several of different callers. Nothing is ever sent
twice: a write whose reply was lost may have been applied.
"""

from __future__ import annotations

import re
import time
from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from ...errors import SharedStateError
from ...settings import Settings
from ..base import Page, Store, bad_cursor
from ..operations import Each, Operation, Record
from ..support.drivers import import_driver
from ..support.opened import Opened
from .commands import Commands, pattern
from .connections import Connection, sentinel, single
from .errors import explained
from .pipeline import Pipeline, Replicas, Step

_SCAN_COUNT = 1000
_END = -1


class RedisStore(Store):
    """Strings on one server, or on the master that Sentinels name; expiry is Redis' own.

    :param connection: how to reach it; connects when the store is first used.
    :param replicas: how many replicas have to confirm each write before it returns.
    """

    name = "redis"
    scope = "network"
    has_server = True
    has_client = True
    combines = True

    def __init__(self, connection: Connection, *, replicas: int = 0, **options: Any) -> None:
        super().__init__(timeout=connection.timeout, **options)
        errors = import_driver("redis").exceptions
        self._failures = (errors.RedisError, errors.RedisClusterException)
        self._connection = connection
        self._replicas = (
            Replicas(replicas, patience=round(self.timeout * 500)) if replicas else None
        )
        self._opened: Opened[Any] = Opened()
        self._commands: Commands
        self._loaded: dict[Hashable, set[str]] = {}

    @classmethod
    def from_settings(cls, settings: Settings) -> RedisStore:
        return cls(single(settings), replicas=settings["CACHE_REDIS_WAIT"])

    @property
    def client(self) -> Any:
        """The client of redis-py's that this store uses."""
        return self._opened.value or self._open()

    def transact(self, keys: Sequence[bytes], operation: Operation) -> Any:
        client = self._opened.value or self._open()
        try:
            if type(operation) is Each:
                steps = [([keys[i] for i in places], each) for places, each in operation.steps]
                return self._each(client, steps)
            if self._replicas is None or not operation.writes:
                return self._commands.run(client, keys, operation)
            # WAIT is about the writes of its own connection.
            with client.client() as one:
                result = self._commands.run(one, keys, operation)
                self._replicas.wait(one)
                return result
        except self._failures as error:
            raise self._explained(error, operation) from error

    def read(self, keys: Sequence[bytes]) -> list[Record | None]:
        client = self._opened.value or self._open()
        with self._errors():
            return self._commands.read(client, keys)

    def values(self, keys: Sequence[bytes]) -> list[bytes | None]:
        client = self._opened.value or self._open()
        try:
            # MGET would pass over a key that holds another type.
            return [client.get(keys[0])] if len(keys) == 1 else list(client.mget(keys))
        except self._failures as error:
            raise self._explained(error, None) from error

    def sizes(self, keys: Sequence[bytes]) -> list[int]:
        client = self._opened.value or self._open()
        with self._errors():
            return self._commands.sizes(client, keys)

    def expiries(self, keys: Sequence[bytes]) -> list[float | None]:
        client = self._opened.value or self._open()
        with self._errors():
            return self._commands.expiries(client, keys)

    def page(self, prefix: bytes, cursor: str | None, limit: int) -> Page:
        """See :meth:`Store.page`; what is no string, or has a name that is no text, is left out.

        As SCAN's, a key may be on two pages while the table is resized.
        """
        return self._page_of(None, prefix, cursor, limit, self._page_deadline())

    def _page_deadline(self) -> float:
        """When a page ends that is not full: a rare prefix takes a walk through all keys."""
        return time.monotonic() + self.timeout / 2

    def _page_of(
        self, node: Any, prefix: bytes, cursor: str | None, limit: int, deadline: float
    ) -> Page:
        client = self._opened.value or self._open()
        options: dict[str, Any] = {"match": pattern(prefix), "_type": "STRING"}
        if node:
            options["target_nodes"] = node
        # SCAN may return more than it is asked for, and the same batch never again: what a page
        # has no room for goes into the cursor.
        position, found = _position(prefix, cursor)
        passed = matched = 0
        with self._errors():
            while len(found) < limit and position != _END:
                room = limit - len(found)
                # About as many as have that many matches among them: few are left over.
                count = min(room * max(passed, 1) // max(matched, 1), _SCAN_COUNT)
                count = max(count, room)
                following, batch = client.scan(max(position, 0), count=count, **options)
                # A cluster's client returns the position by node.
                position = next(iter(following.values())) if node else following
                position = position or _END
                passed, matched = passed + count, matched + len(batch)
                found.update(dict.fromkeys(filter(_is_text, batch)))
                if time.monotonic() > deadline:
                    break
        keys = list(found)
        keys, rest = keys[:limit], keys[limit:]
        if position == _END and not rest:
            return keys, None
        # Without the prefix, which is the reader's: clients send a cursor back, and may change it.
        return keys, ":".join([str(position), *(key[len(prefix) :].hex() for key in rest)])

    def clear(self, prefix: bytes) -> None:
        client = self._opened.value or self._open()
        position = None
        with self._errors():
            while position != 0:
                position, batch = client.scan(
                    position or 0, match=pattern(prefix), count=_SCAN_COUNT
                )
                if batch:
                    client.unlink(*batch)

    def ping(self) -> None:
        client = self._opened.value or self._open()
        with self._errors():
            client.ping()

    def describe(self) -> dict[str, Any]:
        return {
            "location": self._connection.location,
            "durability": "as the server is configured",
        }

    def measure(self) -> dict[str, int]:
        client = self._opened.value or self._open()
        with self._errors():
            return {"entries": client.dbsize(), "bytes": _used_memory(client.info("memory"))}

    def risks(self) -> list[str]:
        client = self._opened.value or self._open()
        with self._errors():
            found = client.info("memory")
        # A cluster's client returns it by node.
        nodes = [found] if "maxmemory_policy" in found else found.values()
        policies = sorted({str(node["maxmemory_policy"]) for node in nodes} - {"noeviction"})
        return [
            f"the server's maxmemory-policy is {policy}, so that it forgets what it holds when its "
            "memory is full: set it to noeviction"
            for policy in policies
        ]

    def close(self) -> None:
        self._opened.close()

    def before_fork(self) -> None:
        if self._opened.value is not None:
            self._connection.disconnect(self._opened.value, idle_only=True)

    def after_fork_in_child(self) -> None:
        self._opened.take()

    def _open(self) -> Any:
        with self._errors():
            client = self._connection.connect()
        self._commands = Commands(client, self.clock)
        return self._opened.put(self, client, self._connection.disconnect)

    def _each(self, client: Any, steps: Sequence[Step], node: Hashable = None) -> list[Any]:
        loaded = self._loaded.setdefault(node, set())
        pipeline = Pipeline(client, self._commands, loaded, self._replicas)
        return pipeline.each(steps, self._explained)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Raises the library's errors for redis-py's."""
        try:
            yield
        except self._failures as error:
            raise self._explained(error, None) from error

    def _explained(self, error: Exception, operation: Operation | None) -> SharedStateError:
        return explained(error, operation, self._connection.location)


class RedisSentinelStore(RedisStore):
    """The master that Redis Sentinels agree on; after a fail-over, the new one.

    A fail-over may lose writes that have returned, as replication is asynchronous;
    ``CACHE_REDIS_WAIT`` makes that less likely.
    """

    name = "redis-sentinel"

    @classmethod
    def from_settings(cls, settings: Settings) -> RedisSentinelStore:
        return cls(sentinel(settings), replicas=settings["CACHE_REDIS_WAIT"])


def _used_memory(found: dict[str, Any]) -> int:
    """The bytes that a server uses, or the nodes of a cluster together."""
    if "used_memory" in found:
        return int(found["used_memory"])
    return sum(int(node["used_memory"]) for node in found.values())


def cursor_number(text: str, end: int) -> int:
    """The number below ``end`` that is a part of a cursor.

    :raises InvalidKey: for any other text: Redis would refuse it like a failure of its own.
    """
    if not re.fullmatch("[0-9]{1,20}", text) or int(text) >= end:
        raise bad_cursor()
    return int(text)


def _position(prefix: bytes, cursor: str | None) -> tuple[int, dict[bytes, None]]:
    """SCAN's cursor, and the keys that come before it: each once, and none out of the prefix."""
    position, *rests = (cursor or "0").split(":")
    number = _END if position == str(_END) else cursor_number(position, 1 << 64)
    keys = dict.fromkeys(_key(prefix, rest) for rest in rests)
    if len(keys) < len(rests):
        raise bad_cursor()
    return number, keys


def _key(prefix: bytes, rest: str) -> bytes:
    """A key that a cursor names, by what it has after the prefix."""
    try:
        key = prefix + bytes.fromhex(rest)
    except ValueError:
        raise bad_cursor() from None
    if not _is_text(key) or (not prefix and key.startswith(b"\0")):
        raise bad_cursor()
    return key


def _is_text(key: bytes) -> bool:
    """Whether a key can be one of ours."""
    try:
        key.decode()
    except UnicodeDecodeError:
        return False
    return True
