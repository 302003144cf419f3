"""``memcached``: the records on one or several memcached servers, shared by all that reach them.

memcached changes one key in one step: an increment is its ``incr`` where that is exact, and
everything else a ``cas``, which fails if somebody else was faster, and is then tried again.
Nothing whose reply was lost is ever sent twice.

When a record ends is decided by the clocks of those who use it, to the fraction of a second: keep
the clocks of several hosts in agreement. What differs ends that much earlier or later.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from typing import Any, ClassVar, TypeVar
from weakref import finalize

from ...errors import NotSupported, StoreUnavailable
from ...settings import Settings
from ..base import Page, Store
from ..operations import Operation, Record
from .entry import Entry, attempts, live
from .item import MAX_PREFIX_BYTES, escaped, physical_key
from .names import names
from .server import Connection, Item, Server
from .servers import Servers, addresses_of

A = TypeVar("A")

_PIPELINED = 100
_PATIENCE = 5
"""How many times ``timeout`` to go on where others are always faster."""


class MemcachedStore(Store):
    """Items on memcached servers, of version 1.6.10 or newer.

    Each key has its one server. When that is down the key is not available until it is back: it
    has no other server, where another number would be counted.

    Operations that wait together are not combined: most are a look and then a ``cas``, which takes
    the reply to the first, and a server that does not respond would delay those on the others.

    :param servers: hosts and ports.
    """

    name = "memcached"
    scope = "network"
    has_server = True
    can: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, servers: Iterable[tuple[str, int]], **options: Any) -> None:
        super().__init__(**options)
        self._servers = Servers(servers, self.timeout)
        finalize(self, self._servers.close)

    @classmethod
    def from_settings(cls, settings: Settings) -> MemcachedStore:
        return cls(
            addresses_of(settings["CACHE_MEMCACHED_SERVERS"]),
            timeout=settings["CACHE_TIMEOUT"],
        )

    def transact(self, keys: Sequence[bytes], operation: Operation) -> Any:
        if len(keys) != 1:
            raise NotSupported("memcached cannot change several keys in one step")
        return self._entry(keys[0]).do(operation)

    def read(self, keys: Sequence[bytes]) -> list[Record | None]:
        """See :meth:`Store.read`; several keys are looked up one after the other."""
        if len(keys) == 1:
            return [self._entry(keys[0]).read()]
        asked = [physical_key(key) for key in keys]
        found: dict[bytes, Item | None] = {}
        for server, theirs in self._servers.group(asked):
            for batch in _batches(theirs):
                request = b"".join(b"mg %s v c\r\n" % name for name in batch)
                items = server.ask(request, _each(batch, Connection.item))
                found.update(zip(batch, items, strict=True))
        now = self.clock()
        return [live(found[name], now) for name in asked]

    def servers_of(self, keys: Sequence[bytes]) -> Iterable[Hashable]:
        return {self._servers.server_of(physical_key(key)).name for key in keys}

    def page(self, prefix: bytes, cursor: str | None, limit: int) -> Page:
        raise NotSupported("memcached cannot list its keys")

    def clear(self, prefix: bytes) -> None:
        """See :meth:`Store.clear`; this looks at the names of all keys on the servers."""
        start = escaped(prefix)
        if len(start) > MAX_PREFIX_BYTES:
            raise NotSupported(f"memcached cannot clear a prefix of {len(prefix)} bytes")
        for server in self._servers:
            for batch in _batches(self._names(server, start)):
                request = b"".join(b"md %s\r\n" % name for name in batch)
                server.ask(request, _each(batch, Connection.is_removed), writes=True)

    def ping(self) -> None:
        for server in self._servers:
            server.ask(b"mn\r\n", Connection.is_there)

    def describe(self) -> dict[str, Any]:
        return {
            "location": "memcached://" + ",".join(server.name for server in self._servers),
            "durability": "none: a restart of the server loses everything",
        }

    def close(self) -> None:
        self._servers.close()

    def after_fork_in_child(self) -> None:
        self.close()

    def _entry(self, key: bytes) -> Entry:
        name = physical_key(key)
        return Entry(self._servers.server_of(name), name, self.clock, _PATIENCE * self.timeout)

    def _names(self, server: Server, start: bytes) -> list[bytes]:
        """What to remove; without a prefix, all but what is the library's own."""
        for _ in attempts(_PATIENCE * self.timeout):
            found = names(server, start)
            if found is not None:
                return [name for name in found if start or not name.startswith(b"%00")]
        raise StoreUnavailable(f"memcached at {server.name} is busy with another list of its keys")


def _each(
    batch: Sequence[bytes], read: Callable[[Connection], A]
) -> Callable[[Connection], list[A]]:
    """Reads as many replies as there are requests."""
    return lambda reply: [read(reply) for _ in batch]


def _batches(names: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    """As many at a time as the buffers on the way hold, so that nobody waits for the other."""
    for first in range(0, len(names), _PIPELINED):
        yield names[first : first + _PIPELINED]
