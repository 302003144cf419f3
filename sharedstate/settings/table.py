"""The table of the library's settings. To add one: a row here, and who reads it."""

from __future__ import annotations

from typing import Any

from .kinds import (
    YEAR,
    anything,
    choice,
    count,
    duration,
    key_prefix,
    mapping,
    path,
    size,
    text,
    url,
)
from .setting import Setting, Settings, check, refuse_misspelt

GIBIBYTE = 1 << 30

_ALL = "every store"
_EMBEDDED = "`filesystem`, `lmdb`"
_REDIS = "`redis`"
_REDISES = "`redis`, `redis-sentinel`, `redis-cluster`"
_SENTINEL = "`redis-sentinel`"
_RESULTS = "cached results"

_URLS = (
    "text that begins with filesystem, lmdb, redis, memcached, etcd, postgresql or another scheme "
    "that the documentation lists, such as redis://localhost:6379"
)

_TABLE = (
    Setting(
        "CACHE_TYPE", anything("the name of a store", "text"), "filesystem", "The store.", _ALL
    ),
    Setting(
        "CACHE_URL",
        url(_URLS),
        None,
        "Type and address in one: `filesystem:///var/lib/app`, `lmdb:///var/lib/app`, `redis://…`, "
        "`rediss://…`, `unix://…`, `redis+sentinel://host:26379,host2:26379/master`, "
        "`redis+cluster://host:7000,host2:7000`, `memcached://host:11211,host2:11211`, "
        "`etcd://host:2379,host2:2379/namespace`, `etcds://…`, "
        "`postgresql://…` (or `postgresql+psycopg://…`), `mysql://…`, `mysql+pymysql://…`, "
        "`mariadb://…`, `mariadb+pymysql://…`, `sqlite:///path`, `manager:///path/to/socket`, "
        "`manager://:authkey@host:port`, `simple:`.",
        _ALL,
        secret=True,
    ),
    Setting(
        "CACHE_DIR",
        path(),
        None,
        "The directory of an embedded store; in one that others can write to, such as `/tmp`, a "
        "private sub-directory is used.",
        f"{_EMBEDDED}, `manager`",
        default_text="`sharedstate` in the instance folder",
    ),
    Setting(
        "CACHE_DURABILITY",
        choice("normal", "full"),
        "normal",
        "`full`: when a write returns, the disk has it.",
        f"{_EMBEDDED}, `database` on SQLite",
    ),
    Setting(
        "CACHE_MAX_BYTES",
        size(),
        GIBIBYTE,
        "How large the store may become, on `filesystem` the file and its log together; a write "
        "past it raises `StoreFull`.",
        f"{_EMBEDDED}, `simple`, `manager`",
        default_text="1 GiB",
    ),
    Setting(
        "CACHE_MAX_VALUE_BYTES",
        size(),
        1 << 20,
        "How large one value may be, encoded.",
        _ALL,
        default_text="1 MiB",
    ),
    Setting(
        "CACHE_TIMEOUT",
        duration(),
        2.0,
        "After how long a store that does not respond is `StoreUnavailable`.",
        _ALL,
        default_text="2 s",
    ),
    Setting(
        "CACHE_DEFAULT_TIMEOUT",
        duration(most=100 * YEAR, zero=True),
        None,
        "When a value expires for which nothing is said; 0: never.",
        _ALL,
        default_text="0; cached results: 300 s",
    ),
    Setting(
        "CACHE_THRESHOLD",
        count(),
        0,
        "About how many cached results there may be before the oldest are removed; 0: any number. "
        "Not on Redis and memcached.",
        _RESULTS,
    ),
    Setting(
        "CACHE_KEY_PREFIX", key_prefix(), "flask_cache_", "Before every key, on every store.", _ALL
    ),
    Setting(
        "CACHE_CODEC",
        choice("pickle", "signed-pickle", "json", "msgpack"),
        None,
        "How values are encoded. `signed-pickle` reads only what was signed with `SECRET_KEY`, or "
        "with one of `SECRET_KEY_FALLBACKS`. `json` and `msgpack` are strict: what would not come "
        "back equal is refused.",
        _ALL,
        default_text="`signed-pickle` on stores in the network, `pickle` on others; the service: "
        "`json`",
    ),
    Setting(
        "CACHE_SERIALIZER",
        anything("a serializer of cachelib's"),
        None,
        "A serializer of cachelib's instead of a codec.",
        _ALL,
    ),
    Setting(
        "CACHE_REDIS_URL",
        url("a URL, such as redis://localhost:6379"),
        None,
        "The address of the Redis server.",
        _REDISES,
        secret=True,
    ),
    Setting(
        "CACHE_REDIS_HOST",
        anything("the name of a host", "text"),
        "localhost",
        "The server's host, where there is no URL; or a `redis.Redis` (as of fakeredis), of which "
        "the address and the options are taken.",
        _REDIS,
    ),
    Setting("CACHE_REDIS_PORT", count(65535), 6379, "The server's port.", _REDIS),
    Setting("CACHE_REDIS_DB", count(), None, "The number of the database.", _REDIS, False, "0"),
    Setting("CACHE_REDIS_USERNAME", text(), None, "The name of the user.", _REDISES),
    Setting(
        "CACHE_REDIS_PASSWORD",
        anything("text", "text"),
        None,
        "The password.",
        _REDISES,
        secret=True,
    ),
    Setting(
        "CACHE_REDIS_SENTINELS",
        anything("a list of pairs of host and port", "list"),
        (("127.0.0.1", 26379),),
        "The Sentinels, as pairs of host and port.",
        _SENTINEL,
        default_text="`127.0.0.1:26379`",
    ),
    Setting(
        "CACHE_REDIS_SENTINEL_MASTER",
        text(),
        "mymaster",
        "The name by which the Sentinels know the master.",
        _SENTINEL,
    ),
    Setting(
        "CACHE_REDIS_SENTINEL_PASSWORD",
        anything("text", "text"),
        None,
        "The password of the Sentinels.",
        _SENTINEL,
        secret=True,
    ),
    Setting(
        "CACHE_REDIS_CLUSTER",
        text("nodes, such as host:7000,host2:7000"),
        None,
        "Nodes of the cluster: `host:port,host:port`.",
        "`redis-cluster`",
    ),
    Setting(
        "CACHE_REDIS_WAIT",
        count(),
        0,
        "How many replicas have to confirm each write before it returns.",
        "`redis`, `redis-sentinel`",
    ),
    Setting(
        "CACHE_MEMCACHED_SERVERS",
        anything("a list of host:port", "list"),
        ("127.0.0.1:11211",),
        "The servers: a list of `host:port`, or a client of python-memcached, pymemcache or "
        "pylibmc, whose servers are taken.",
        "`memcached`",
        default_text="`127.0.0.1:11211`",
    ),
    Setting(
        "CACHE_DATABASE_URL",
        anything(
            "a URL of SQLAlchemy's, such as postgresql+psycopg://user:password@host/database", "URL"
        ),
        None,
        "SQLAlchemy's URL of the database.",
        "`database`",
        secret=True,
    ),
    Setting(
        "CACHE_DATABASE_TABLE",
        text(),
        "sharedstate",
        "The table, which is made on first use.",
        "`database`",
    ),
    Setting(
        "CACHE_MANAGER_AUTHKEY",
        anything("text or bytes", "text"),
        None,
        "The authkey, if it is not in the URL.",
        "`manager` at an address",
        secret=True,
    ),
    Setting(
        "CACHE_OPTIONS",
        mapping(),
        {},
        "More arguments for redis-py's client or SQLAlchemy's engine, or etcd's files for TLS; "
        "cachelib's `default_timeout`, `key_prefix` and `threshold` too.",
        f"{_REDISES}, `database`, `etcd`",
        secret=True,
        default_text="",
    ),
)

FLASK_CACHINGS = (
    # Flask-Caching's own, as before.
    *("CACHE_ENABLE_SIGNALS", "CACHE_HASH_METHOD", "CACHE_NO_NULL_WARNING", "CACHE_SOURCE_CHECK"),
    # Without effect: an error is always raised, and there are no files of a value's own.
    *("CACHE_ARGS", "CACHE_FILE_HASH_METHOD", "CACHE_IGNORE_ERRORS"),
    # Not supported: SASL.
    *("CACHE_MEMCACHED_PASSWORD", "CACHE_MEMCACHED_USERNAME"),
)
"""Names of Flask-Caching's that are known, so that they are no misspelling, and not checked."""


def table() -> list[Setting]:
    """The settings of the library, in the order of the documentation."""
    return [*_TABLE]


def checked(settings: Settings) -> dict[str, Any]:
    """The settings with each of the library's own there: typed, or its default.

    :raises ConfigurationError: naming a setting that is wrong, or one that was nearly written.
    """
    names = (name for name in settings if isinstance(name, str) and name.startswith("CACHE_"))
    refuse_misspelt(names, (*(setting.name for setting in _TABLE), *FLASK_CACHINGS))
    return check(_TABLE, settings)
