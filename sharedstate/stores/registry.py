"""The stores, by the names that ``CACHE_TYPE`` and the schemes that ``CACHE_URL`` know.

To add one: write a package with a :class:`~.base.Store`, and name it here.
"""

from __future__ import annotations

from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from ..errors import ConfigurationError
from ..settings import Settings, checked
from .base import Store
from .combining import Combining
from .guards.breaker import Breaker
from .support.addresses import scheme_of

DEFAULT_TYPE = "filesystem"

STORES = {
    "database": "database:DatabaseStore",
    "etcd": "etcd:EtcdStore",
    "filesystem": "filesystem:FilesystemStore",
    "lmdb": "lmdb:LmdbStore",
    "manager": "manager:ManagerStore",
    "memcached": "memcached:MemcachedStore",
    "redis": "redis:RedisStore",
    "redis-sentinel": "redis:RedisSentinelStore",
    "redis-cluster": "redis:RedisClusterStore",
    "simple": "memory:MemoryStore",
}
"""``CACHE_TYPE`` → module and class."""

ALIASES = {
    "FileSystemCache": "filesystem",
    "MemcachedCache": "memcached",
    "RedisCache": "redis",
    "RedisSentinelCache": "redis-sentinel",
    "RedisClusterCache": "redis-cluster",
    "SimpleCache": "simple",
}
"""Flask-Caching's class names → ``CACHE_TYPE``."""

SCHEMES = {
    **dict.fromkeys(("postgresql", "postgresql+psycopg"), "database"),
    **dict.fromkeys(("mysql", "mysql+pymysql", "mariadb", "mariadb+pymysql"), "database"),
    "sqlite": "database",
    "etcd": "etcd",
    "etcds": "etcd",
    "filesystem": "filesystem",
    "lmdb": "lmdb",
    "manager": "manager",
    "memcached": "memcached",
    "redis": "redis",
    "rediss": "redis",
    "unix": "redis",
    "redis+sentinel": "redis-sentinel",
    "redis+cluster": "redis-cluster",
    "simple": "simple",
}
"""The scheme of a ``CACHE_URL`` → ``CACHE_TYPE``."""


URL_SETTINGS = {
    "database": "CACHE_DATABASE_URL",
    "etcd": "CACHE_URL",
    "manager": "CACHE_URL",
    "memcached": "CACHE_MEMCACHED_SERVERS",
    "redis": "CACHE_REDIS_URL",
    "redis-sentinel": "CACHE_REDIS_URL",
    "redis-cluster": "CACHE_REDIS_URL",
}
"""``CACHE_TYPE`` → the setting in which its store looks for a URL; the others take a directory."""


def type_name(settings: Settings) -> str | None:
    """The name in ``STORES`` that the settings ask for, or ``None`` if it is none of ours."""
    url = settings.get("CACHE_URL")
    asked = settings.get("CACHE_TYPE") or DEFAULT_TYPE
    name = ALIASES.get(asked, asked)
    if url:
        return _agreed(_type_of(url), name)
    return name if name in STORES else None


def _agreed(of_url: str, of_type: str) -> str:
    """The type that the URL names, unless ``CACHE_TYPE`` names another one than the default."""
    if of_type == DEFAULT_TYPE or of_url.partition("-")[0] == of_type.partition("-")[0]:
        return of_url
    raise ConfigurationError(
        f"CACHE_TYPE is {of_type!r} and CACHE_URL leads to {of_url!r}: leave one of them out"
    )


def store_class(name: str) -> type[Store]:
    """The class of a store, its module imported now."""
    module, _, class_name = STORES[name].partition(":")
    cls: type[Store] = getattr(import_module(f"{__package__}.{module}"), class_name)
    return cls


def open_store(settings: Settings) -> Store:
    """The store that ``CACHE_URL`` or ``CACHE_TYPE`` and its settings describe.

    :raises ConfigurationError: naming the setting that is wrong.
    """
    settings = checked(settings)
    name = type_name(settings)
    if name is None:
        raise unknown_type(settings.get("CACHE_TYPE"))
    store = store_class(name).from_settings(_with_url(settings, name))
    if store.combines:
        store = Combining(store)
    return Breaker(store) if store.has_server else store


def unknown_type(asked: Any) -> ConfigurationError:
    """The error for a ``CACHE_TYPE`` that nobody knows."""
    names = [*STORES, *ALIASES]
    nearest = get_close_matches(str(asked), names, 1)
    meant = f"; did you mean {nearest[0]!r}?" if nearest else ""
    return ConfigurationError(
        f"CACHE_TYPE {asked!r} is unknown{meant}; there are: {', '.join(names)}"
    )


def _type_of(url: str) -> str:
    scheme = scheme_of(url)
    if scheme in SCHEMES:
        return SCHEMES[scheme]
    # Without the URL, which may show a password.
    begins = f"begins with {scheme!r}" if scheme and "://" in url else "is no URL"
    raise ConfigurationError(
        f"CACHE_URL {begins}, as redis://localhost:6379 is one; it can begin with "
        f"{', '.join(SCHEMES)}"
    )


def _with_url(settings: Settings, name: str) -> Settings:
    """The settings with what the URL says put where the store looks for it."""
    url = settings.get("CACHE_URL")
    if not url:
        return settings
    if name in URL_SETTINGS:
        return {**settings, URL_SETTINGS[name]: url}
    scheme, _, place = url.partition(":")
    if place.startswith("//") and not place.startswith("///") and place != "//":
        raise ConfigurationError(
            f"CACHE_URL names a host; a path has three slashes: {scheme}:///var/lib/app"
        )
    path = urlsplit(place.removeprefix("//")).path
    return {**settings, "CACHE_DIR": Path(unquote(path))} if path else settings
