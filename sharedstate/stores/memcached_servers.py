"""Which memcached servers there are, and which of them is a key's home."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from hashlib import blake2b
from typing import Any
from urllib.parse import urlsplit

from ..errors import ConfigurationError
from .memcached_server import Server

_PORT = 11211


class Servers:
    """Several servers, by rendezvous hashing of their names: everybody has to name them alike.

    A key's home is always the same one, up or down. One server more or less moves only the keys
    that it gets or had.
    """

    def __init__(self, addresses: Iterable[tuple[str, int]], timeout: float) -> None:
        self._all = [Server(host, port, timeout) for host, port in addresses]

    def __iter__(self) -> Iterator[Server]:
        return iter(self._all)

    def home(self, name: bytes) -> Server:
        """The one that draws the highest lot for this name."""
        if len(self._all) == 1:
            return self._all[0]

        def lot(server: Server) -> bytes:
            return blake2b(b"%s %s" % (server.name.encode(), name), digest_size=8).digest()

        return max(self._all, key=lot)

    def group(self, names: Iterable[bytes]) -> Iterable[tuple[Server, list[bytes]]]:
        """Each server that is a home, with whose home it is."""
        groups: dict[Server, list[bytes]] = {}
        for name in names:
            groups.setdefault(self.home(name), []).append(name)
        return groups.items()

    def close(self) -> None:
        """Close all connections that are not in use."""
        for server in self._all:
            server.close()


def addresses(servers: Any) -> list[tuple[str, int]]:
    """The hosts and ports of ``memcached://host:port,host``, with or without scheme, or a list."""
    if isinstance(servers, str):
        servers = servers.removeprefix("memcached://").rstrip("/").split(",")
    return [_address(server) for server in servers]


def _address(server: Any) -> tuple[str, int]:
    try:
        if not isinstance(server, str):
            host, port = server
            return str(host).lower(), int(port)
        parts = urlsplit(f"//{server}")
        if parts.hostname and parts.netloc == server and "@" not in server:
            return parts.hostname, parts.port or _PORT
    except (TypeError, ValueError):
        pass
    raise ConfigurationError(
        f"CACHE_MEMCACHED_SERVERS has an entry that is not host:port: {_shown(server)}"
    )


def _shown(server: Any) -> str:
    """The entry without what may be a password."""
    return repr(server.rpartition("@")[2] if isinstance(server, str) else server)
