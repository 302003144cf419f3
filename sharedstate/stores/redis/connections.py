"""How to reach Redis: one server, the master that Sentinels name, or the nodes of a cluster."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from ...errors import ConfigurationError
from ...settings import Settings
from ..support.addresses import URL, addresses, malformed, parsed, shown
from ..support.drivers import import_driver
from .pool import keeping_pool

_EXAMPLE = "redis://user:password@host:6379/0, rediss://… or unix:///path"
_SENTINEL_EXAMPLE = "redis+sentinel://host:26379,host/master"
_CLUSTER_EXAMPLE = "redis+cluster://host:7000,host:7000"
_CLUSTER = "CACHE_REDIS_CLUSTER"

_NO_LIMIT = 2**31
_OF_SENTINELS = ("socket_timeout", "socket_connect_timeout", "retry", "max_connections")
_ADDED = ("maint_notifications_", "orig_", "retry", "max_connections")
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
    url = settings["CACHE_REDIS_URL"]
    if url:
        location = _checked(url, _setting(settings))
        if "single_connection_client" in options:
            return _connection(lambda: redis.Redis.from_url(url, **options), location, options)

        def connect() -> Any:
            return redis.Redis.from_pool(keeping_pool().from_url(url, **options))

        return _connection(connect, location, options)
    host = settings["CACHE_REDIS_HOST"]
    if not isinstance(host, str):
        return _like(host, options)
    options["host"] = host
    options["port"] = settings["CACHE_REDIS_PORT"]
    location = f"redis://{options['host']}:{options['port']}"
    return _connection(lambda: redis.Redis(**options), location, options)


def sentinel(settings: Settings) -> Connection:
    """``redis+sentinel://[user:password@]host:port,…/master[/db]``, or Flask-Caching's keys."""
    options = _options(settings)
    sentinels = settings["CACHE_REDIS_SENTINELS"]
    master = settings["CACHE_REDIS_SENTINEL_MASTER"]
    url = settings["CACHE_REDIS_URL"]
    if url:
        setting = _setting(settings)
        parts = parsed(url, setting, _SENTINEL_EXAMPLE)
        sentinels = parts.hosts
        options.update(_credentials(parts))
        master, _, database = unquote(parts.path).strip("/").partition("/")
        if not (master and sentinels) or not (database or "0").isdigit():
            raise malformed(setting, _SENTINEL_EXAMPLE)
        if database:
            options["db"] = int(database)
        hosts = addresses(sentinels, _SENTINEL_PORT, setting)
    else:
        hosts = addresses(sentinels, _SENTINEL_PORT, "CACHE_REDIS_SENTINELS")
    own = {name: options[name] for name in _OF_SENTINELS}
    password = settings["CACHE_REDIS_SENTINEL_PASSWORD"]
    if password:
        own["password"] = password

    def connect() -> Any:
        module = import_driver("redis.sentinel")
        return module.Sentinel(hosts, sentinel_kwargs=own, **options).master_for(master)

    def pools(client: Any) -> list[Any]:
        watchers = client.connection_pool.sentinel_manager.sentinels
        return [client.connection_pool, *(watcher.connection_pool for watcher in watchers)]

    location = f"redis+sentinel://{shown(hosts)}/{master}"
    return Connection(connect, location, options["socket_timeout"], pools)


def cluster(settings: Settings) -> Connection:
    """``redis+cluster://[user:password@]host:port,…``, or ``CACHE_REDIS_CLUSTER``."""
    options = _options(settings)
    url, setting = settings["CACHE_REDIS_URL"], _setting(settings)
    if not url:
        url, setting = f"redis+cluster://{settings['CACHE_REDIS_CLUSTER'] or ''}", _CLUSTER
    parts = parsed(url, setting, _CLUSTER_EXAMPLE)
    if not parts.hosts:
        raise malformed(setting, _CLUSTER_EXAMPLE)
    hosts = addresses(parts.hosts, _REDIS_PORT, setting)
    options.update(_credentials(parts))
    # Moving to another node is not a second try: the first one has refused.
    retry = options.pop("retry")

    def connect() -> Any:
        module = import_driver("redis.cluster")
        nodes = [module.ClusterNode(host, port) for host, port in hosts]
        return module.RedisCluster(startup_nodes=nodes, retry=retry, **options)

    def pools(client: Any) -> list[Any]:
        clients = [node.redis_connection for node in client.get_nodes()]
        return [client.connection_pool for client in clients if client is not None]

    location = f"redis+cluster://{shown(hosts)}"
    return Connection(connect, location, options["socket_timeout"], pools)


def _setting(settings: Settings) -> str:
    """Where the URL was set, for error messages."""
    return "CACHE_URL" if settings["CACHE_URL"] else "CACHE_REDIS_URL"


def _checked(url: Any, setting: str) -> str:
    """The location that a URL leads to, if redis-py can use it."""
    parts = parsed(url, setting, _EXAMPLE)
    # redis-py would take database 0 for a name, and 12 for /1/2.
    if parts.scheme != "unix" and not (parts.path.strip("/") or "0").isdecimal():
        raise malformed(setting, _EXAMPLE)
    try:
        import_driver("redis.connection").parse_url(url)
    except (ValueError, TypeError):
        # Without what is wrong with it, which may show a password.
        raise malformed(setting, _EXAMPLE) from None
    return f"{parts.scheme}://{parts.hosts}{parts.path}"


def _like(client: Any, options: dict[str, Any]) -> Connection:
    """Where a client of redis-py's, such as one of fakeredis', leads.

    It is not used itself: it may send a write twice, and it may return text.
    """
    redis = import_driver("redis")
    sentinels = import_driver("redis.sentinel").SentinelConnectionPool
    if not isinstance(client, redis.Redis) or isinstance(client.connection_pool, sentinels):
        raise ConfigurationError(
            f"CACHE_REDIS_HOST is a {type(client).__name__}; it can be the name of a host, or a "
            "redis.Redis that is connected to one server. Set CACHE_REDIS_URL instead: "
            "redis://host:6379, redis+sentinel://host:26379/master or redis+cluster://host:7000"
        )
    known = client.get_connection_kwargs()
    # What redis-py adds by itself is of its own pool.
    given = {name: known[name] for name in known if not name.startswith(_ADDED)}
    given["connection_class"] = client.connection_pool.connection_class
    ours = {name: options[name] for name in _OF_SENTINELS} | {"decode_responses": False}

    def connect() -> Any:
        again = redis.ConnectionPool(**(given | ours))
        return redis.Redis(connection_pool=again)

    place = known.get("path") or f"{known.get('host')}:{known.get('port')}"
    scheme = "unix" if known.get("path") else "redis"
    return _connection(connect, f"{scheme}://{place}", options)


def _connection(connect: Callable[[], Any], location: str, options: dict[str, Any]) -> Connection:
    return Connection(
        connect, location, options["socket_timeout"], lambda client: [client.connection_pool]
    )


def _options(settings: Settings) -> dict[str, Any]:
    """Keyword arguments for redis-py that are the same wherever it connects to."""
    timeout = settings["CACHE_TIMEOUT"]
    # A retry below us could apply a write twice.
    never = import_driver("redis.retry").Retry(import_driver("redis.backoff").NoBackoff(), 0)
    options = {
        "socket_timeout": timeout,
        "socket_connect_timeout": timeout,
        "retry": never,
        # redis-py would refuse the hundred-and-first thread or greenlet.
        "max_connections": _NO_LIMIT,
        **settings["CACHE_OPTIONS"],
    }
    for name in ("db", "username", "password"):
        value = settings[f"CACHE_REDIS_{name.upper()}"]
        if value is not None:
            options[name] = value
    if options.get("decode_responses"):
        raise ConfigurationError("decode_responses cannot be used: values are bytes")
    return options


def _credentials(parts: URL) -> dict[str, str]:
    found = {"username": parts.user, "password": parts.password}
    return {name: value for name, value in found.items() if value}
