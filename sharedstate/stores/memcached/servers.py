"""Which memcached servers there are, and which of them holds a key."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from hashlib import blake2b
from typing import Any

from ...errors import ConfigurationError
from ..support.addresses import Address, addresses
from .server import Server

_PORT = 11211
_SETTING = "CACHE_MEMCACHED_SERVERS"


class Servers:
    """Several servers, by rendezvous hashing of their names: everybody has to name them alike.

    A key has always the same server, up or down. One server more or less moves only the keys
    that it gets or had.
    """

    def __init__(self, addresses: Iterable[tuple[str, int]], timeout: float) -> None:
        self._all = [Server(host, port, timeout) for host, port in addresses]

    def __iter__(self) -> Iterator[Server]:
        return iter(self._all)

    def server_of(self, name: bytes) -> Server:
        """The server with the highest rendezvous hashing score for this name."""
        if len(self._all) == 1:
            return self._all[0]

        def score(server: Server) -> bytes:
            return blake2b(b"%s %s" % (server.name.encode(), name), digest_size=8).digest()

        return max(self._all, key=score)

    def group(self, names: Iterable[bytes]) -> Iterable[tuple[Server, list[bytes]]]:
        """Each server that holds some of the names, with those that it holds."""
        groups: dict[Server, list[bytes]] = {}
        for name in names:
            groups.setdefault(self.server_of(name), []).append(name)
        return groups.items()

    def close(self) -> None:
        """Close all connections that are not in use."""
        for server in self._all:
            server.close()


def addresses_of(servers: Any) -> list[Address]:
    """The hosts and ports of ``memcached://host:port,host``, of a list, or of a client object.

    :param servers: a URL, with or without its scheme; hosts and pairs of host and port; or a
        client of python-memcached, pymemcache or pylibmc, of which only the servers' names count.
    """
    if isinstance(servers, str):
        servers = servers.removeprefix("memcached://").rstrip("/")
    elif not isinstance(servers, (list, tuple)):
        servers = _of_client(servers)
    return addresses(servers, _PORT, _SETTING)


def _of_client(client: Any) -> list[Any]:
    """What a client of another package says of its servers, by its public attributes."""
    if hasattr(client, "clients"):  # pymemcache.HashClient
        return [each.server for each in client.clients.values()]
    if hasattr(client, "server"):  # pymemcache.Client, PooledClient
        return [client.server]
    if hasattr(client, "servers"):  # memcache.Client
        return [server.address for server in client.servers]
    if hasattr(client, "addresses"):  # pylibmc.Client
        return list(client.addresses)
    raise ConfigurationError(
        f"{_SETTING} is a {type(client).__name__}, which does not tell its servers: give them as "
        "a list of host:port"
    )
