"""How to reach Redis: one server, the master that Sentinels name, or the nodes of a cluster."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit, urlunsplit

from ..errors import ConfigurationError
from ..settings import Settings, seconds
from .base import DEFAULT_TIMEOUT
from .drivers import import_driver

Address = tuple[str, int]

_NO_LIMIT = 2**31
_OF_SENTINELS = ("socket_timeout", "socket_connect_timeout", "retry", "max_connections")
_REDIS_PORT = 6379
_SENTINEL_PORT = 26379


@dataclass(frozen=True)
class Connection:
    """Makes a client of redis-py's when it is needed."""

    connect: Callable[[], Any]
    location: str
    """Where it leads, for people, without a password."""
    timeout: float
    pools: Callable[[Any], list[Any]]
    """All pools of connections that a client has."""

    def disconnect(self, client: Any, *, idle_only: bool = False) -> None:
        """Close a client's connections; those that are needed are made again."""
        for pool in self.pools(client):
            pool.disconnect(inuse_connections=not idle_only)


def single(settings: Settings) -> Connection:
    """One server: ``CACHE_REDIS_URL``, or ``CACHE_REDIS_HOST`` and ``CACHE_REDIS_PORT``."""
    options = _options(settings)
    redis = import_driver("redis")
    url = settings.get("CACHE_REDIS_URL")
    if url:
        parts = urlsplit(url)
        location = urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
        return _connection(lambda: redis.Redis.from_url(url, **options), location, options)
    options["host"] = settings.get("CACHE_REDIS_HOST") or "localhost"
    options["port"] = settings.get("CACHE_REDIS_PORT") or _REDIS_PORT
    location = f"redis://{options['host']}:{options['port']}"
    return _connection(lambda: redis.Redis(**options), location, options)


def sentinel(settings: Settings) -> Connection:
    """``redis+sentinel://[user:password@]host:port,…/master[/db]``, or Flask-Caching's keys."""
    options = _options(settings)
    sentinels = settings.get("CACHE_REDIS_SENTINELS") or [("127.0.0.1", _SENTINEL_PORT)]
    master = settings.get("CACHE_REDIS_SENTINEL_MASTER") or "mymaster"
    url = settings.get("CACHE_REDIS_URL")
    if url:
        parts = urlsplit(url)
        sentinels = _addresses(parts, _SENTINEL_PORT)
        options.update(_credentials(parts))
        master, _, database = parts.path.strip("/").partition("/")
        if not master:
            raise ConfigurationError(
                f"{_shown(parts)} lacks the name of the master: redis+sentinel://host:26379/name"
            )
        if database:
            options["db"] = int(database)
    own = {name: options[name] for name in _OF_SENTINELS}
    password = settings.get("CACHE_REDIS_SENTINEL_PASSWORD")
    if password:
        own["password"] = password

    def connect() -> Any:
        module = import_driver("redis.sentinel")
        return module.Sentinel(sentinels, sentinel_kwargs=own, **options).master_for(master)

    def pools(client: Any) -> list[Any]:
        watchers = client.connection_pool.sentinel_manager.sentinels
        return [client.connection_pool, *(watcher.connection_pool for watcher in watchers)]

    names = ",".join(f"{host}:{port}" for host, port in sentinels)
    location = f"redis+sentinel://{names}/{master}"
    return Connection(connect, location, options["socket_timeout"], pools)


def cluster(settings: Settings) -> Connection:
    """``redis+cluster://[user:password@]host:port,…``, or ``CACHE_REDIS_CLUSTER``."""
    options = _options(settings)
    url = settings.get("CACHE_REDIS_URL")
    parts = urlsplit(url or f"redis+cluster://{settings.get('CACHE_REDIS_CLUSTER') or ''}")
    addresses = _addresses(parts, _REDIS_PORT)
    options.update(_credentials(parts))
    # Moving to another node is not a second try: the first one has refused.
    retry = options.pop("retry")

    def connect() -> Any:
        module = import_driver("redis.cluster")
        nodes = [module.ClusterNode(host, port) for host, port in addresses]
        return module.RedisCluster(startup_nodes=nodes, retry=retry, **options)

    def pools(client: Any) -> list[Any]:
        clients = [node.redis_connection for node in client.get_nodes()]
        return [client.connection_pool for client in clients if client is not None]

    return Connection(connect, _shown(parts), options["socket_timeout"], pools)


def _connection(connect: Callable[[], Any], location: str, options: dict[str, Any]) -> Connection:
    return Connection(
        connect, location, options["socket_timeout"], lambda client: [client.connection_pool]
    )


def _options(settings: Settings) -> dict[str, Any]:
    """Keyword arguments for redis-py that are the same wherever it connects to."""
    timeout = seconds(settings, "CACHE_TIMEOUT", DEFAULT_TIMEOUT)
    # A retry below us could apply a write twice.
    never = import_driver("redis.retry").Retry(import_driver("redis.backoff").NoBackoff(), 0)
    options = {
        "socket_timeout": timeout,
        "socket_connect_timeout": timeout,
        "retry": never,
        # redis-py would refuse the hundred-and-first thread or greenlet.
        "max_connections": _NO_LIMIT,
        **(settings.get("CACHE_OPTIONS") or {}),
    }
    for name in ("db", "username", "password"):
        value = settings.get(f"CACHE_REDIS_{name.upper()}")
        if value is not None:
            options[name] = value
    if options.get("decode_responses"):
        raise ConfigurationError("decode_responses cannot be used: values are bytes")
    return options


def _addresses(parts: SplitResult, default_port: int) -> list[Address]:
    hosts = [host for host in parts.netloc.rpartition("@")[2].split(",") if host]
    if not hosts:
        raise ConfigurationError(f"{_shown(parts)} names no host: {parts.scheme}://host:port,…")
    try:
        return [
            (name or port, int(port) if name else default_port)
            for name, _, port in (host.rpartition(":") for host in hosts)
        ]
    except ValueError:
        raise ConfigurationError(f"{_shown(parts)} has a port that is no number") from None


def _credentials(parts: SplitResult) -> dict[str, str]:
    user, _, password = parts.netloc.rpartition("@")[0].partition(":")
    found = {"username": unquote(user), "password": unquote(password)}
    return {name: value for name, value in found.items() if value}


def _shown(parts: SplitResult) -> str:
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
