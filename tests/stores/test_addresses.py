"""The addresses of servers: what they lead to, and that nothing secret of them is shown."""

from __future__ import annotations

import logging
import traceback
from contextlib import closing
from types import SimpleNamespace
from typing import Any

import memcache
import pytest
import redis

from sharedstate import ConfigurationError, State, StoreUnavailable
from sharedstate.stores.memcached.servers import addresses_of
from sharedstate.stores.registry import open_store
from sharedstate.stores.support.addresses import addresses

NOWHERE = "127.0.0.1:1"
BEGIN, END = "zq7x", "kw9v"
PASSWORDS = [f"{BEGIN}{odd}{END}" for odd in "#/?@:;,[]()&=+%\\ \t\"'<>|é"] + [
    f"1{odd}{END}" for odd in "#/?@"
]
# For TLS, PyMySQL reads all certificates of the system each time.
URLS = [
    *("redis://user:{}@{}/0", "redis://:{}@{}", "redis://{}@{}/0", "rediss://u:{}@{}"),
    *("unix://u:{}@/no/such/socket", "redis+sentinel://u:{}@{}/master", "redis+cluster://:{}@{}"),
    *("memcached://u:{}@{}", "memcached://{}@{},{}", "manager://:{}@{}", "manager://u:{}@{}"),
    *(
        "postgresql://u:{}@{}/d",
        "postgresql+psycopg://{}@{}/d",
        "mariadb://u:{}@{}/d?ssl_disabled=true",
    ),
    *(
        "mysql+pymysql://:{}@{}/d?ssl_disabled=true",
        "postgresql://u:{}@{}",
        "postgresql://u:{}@{},{}/d",
    ),
    *("postgresql://u:{}@/d?host={}&host={}", "filesystem://u:{}@{}/path"),
    *("lmdb://:{}@{}/path", "http://u:{}@{}", "u:{}@{}", "redis:{}@{}"),
]


@pytest.mark.slow
@pytest.mark.parametrize("url", URLS)
def test_no_error_shows_a_password(url: str, caplog: pytest.LogCaptureFixture) -> None:
    """However a password is written, no part of it is in an error, its traceback or a log."""
    caplog.set_level(logging.DEBUG)
    for password in PASSWORDS:
        told = _told({"CACHE_URL": url.format(password, NOWHERE, NOWHERE)}) + caplog.text
        assert told
        for part in (BEGIN, END):
            assert part not in told.lower(), (password, told)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name, kind",
    [
        ("CACHE_REDIS_URL", "redis"),
        ("CACHE_REDIS_URL", "redis-sentinel"),
        ("CACHE_REDIS_URL", "redis-cluster"),
        ("CACHE_REDIS_CLUSTER", "redis-cluster"),
        ("CACHE_MEMCACHED_SERVERS", "memcached"),
        ("CACHE_DATABASE_URL", "database"),
    ],
)
def test_nor_does_one_about_its_own_setting(name: str, kind: str) -> None:
    """A URL in the store's own setting is treated the same, with a scheme or without."""
    for password in PASSWORDS:
        for begin in ("redis://", "postgresql://", ""):
            told = _told({"CACHE_TYPE": kind, name: f"{begin}u:{password}@{NOWHERE}/x"})
            for part in (BEGIN, END):
                assert part not in told.lower(), (password, told)


def _told(settings: dict[str, Any]) -> str:
    """All that a store tells about itself, until it fails."""
    told = ""
    try:
        store = open_store({"CACHE_TIMEOUT": 0.2, **settings})
        with closing(store):
            told = f"{store.describe()}"
            store.ping()
    except (ConfigurationError, StoreUnavailable) as error:
        # The lines of the source do not count, only what was said.
        told += "".join(traceback.TracebackException.from_exception(error).format_exception_only())
        cause = error.__cause__
        while cause is not None:
            told += f"{cause}{cause!r}"
            cause = cause.__cause__
    return told


def test_the_error_says_how_to_write_it() -> None:
    """The remedy for a special character is in the message."""
    with pytest.raises(ConfigurationError, match="CACHE_URL.*%23 for #"):
        open_store({"CACHE_URL": "redis://:s3cr#t@host"})
    store = open_store({"CACHE_URL": "redis://:s3cr%23t@host:7000/1"})
    assert store.describe()["location"] == "redis://host:7000/1"


@pytest.mark.parametrize("url", ["redis", "localhost:6379", "redis:6379", "redis://h:x", "h/0"])
@pytest.mark.parametrize("name", ["CACHE_URL", "CACHE_REDIS_URL"])
def test_a_host_without_its_scheme(name: str, url: str) -> None:
    """A Redis URL that is none is refused when the store is made, with what it should look like."""
    with pytest.raises(ConfigurationError, match=f"{name}.*redis://") as caught:
        open_store({"CACHE_TYPE": "redis", name: url})
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    "url, location",
    [
        ("memcached://h:1,[::1]:2", None),
        ("memcached://[::1],H2", "memcached://[::1]:11211,h2:11211"),
        ("redis+cluster://u:p@h:1,[::1]:2", "redis+cluster://h:1,[::1]:2"),
        ("redis+sentinel://:p@[::1]:1,h/m/2", "redis+sentinel://[::1]:1,h:26379/m"),
        ("manager://:k@[::1]:7000", None),
        ("redis://[::1]:7000/1", None),
        ("unix://u:p@/run/a/redis.sock", "unix:///run/a/redis.sock"),
        ("unix:///run/a@b/redis.sock", None),
    ],
)
def test_hosts(url: str, location: str | None) -> None:
    """IPv6 addresses are in brackets, in each kind of URL, and ports have their defaults."""
    expected = location or url.replace(":k@", "")
    assert open_store({"CACHE_URL": url}).describe()["location"] == expected


@pytest.mark.parametrize("hosts", ["", "h:", "h:x", "h:99999", ":1", "[::1", "::1", "a b", "h:1,"])
def test_wrong_hosts(hosts: str) -> None:
    """What is no host and port is refused by its place in the list."""
    with pytest.raises(ConfigurationError, match="of THE_SETTING is not host:port"):
        addresses(hosts, 1, "THE_SETTING")


# Clients of other packages, which Flask-Caching takes for addresses.


def test_a_client_of_redis(empty_redis: str) -> None:
    """`CACHE_REDIS_HOST` may be a client: its server is used, in our way."""
    with redis.Redis.from_url(empty_redis, decode_responses=True) as client:
        state = State.from_settings(
            {"CACHE_TYPE": "RedisCache", "CACHE_REDIS_HOST": client, "CACHE_KEY_PREFIX": "test:"}
        )
        with closing(state):
            assert state.inc("n") == 1
            assert state.set("text", "ü") and state.get("text") == "ü"
            assert client.get("test:n") == "1"
            ours = state.store.client.get_connection_kwargs()
            assert ours["retry"].get_retries() == 0
            assert ours["socket_timeout"] == 2
            address = empty_redis.rpartition("/")[0]
            assert state.store.describe()["location"] == address
        assert client.ping()


def test_a_client_whose_connections_are_another_class() -> None:
    """What stands in for a server, as fakeredis does, is connected to in its own way."""
    made = []

    class Fake(redis.Connection):
        def __init__(self, *, server: object, **options: Any) -> None:
            made.append(server)
            super().__init__(**options)

        def connect(self) -> None:
            raise redis.ConnectionError("a fake server that is down")

    server = object()
    pool = redis.ConnectionPool(connection_class=Fake, server=server)
    store = open_store(
        {"CACHE_TYPE": "redis", "CACHE_REDIS_HOST": redis.Redis(connection_pool=pool)}
    )
    with pytest.raises(StoreUnavailable, match="a fake server"):
        store.ping()
    assert made[-1] is server
    store.close()


def test_what_is_no_client_of_one_server() -> None:
    """A client that leads to several servers, or none, is refused with what to set instead."""
    sentinel = redis.Sentinel([("127.0.0.1", 1)])
    for client in (object(), redis.asyncio.Redis(), sentinel.master_for("m")):
        with pytest.raises(ConfigurationError, match="CACHE_REDIS_URL"):
            open_store({"CACHE_TYPE": "redis", "CACHE_REDIS_HOST": client})
    sentinel.sentinels[0].close()


def test_a_client_of_memcached(empty_memcached: str, memcached_port: int) -> None:
    """`CACHE_MEMCACHED_SERVERS` may be a client, whose servers are used in our way."""
    client = memcache.Client([f"127.0.0.1:{memcached_port}", "inet6:[::1]:2"])
    assert addresses_of(client) == [("127.0.0.1", memcached_port), ("::1", 2)]
    state = State.from_settings(
        {
            "CACHE_TYPE": "MemcachedCache",
            "CACHE_MEMCACHED_SERVERS": memcache.Client([f"127.0.0.1:{memcached_port}"]),
        }
    )
    with closing(state):
        assert state.inc("n") == 1


@pytest.mark.parametrize(
    "client, found",
    [
        (SimpleNamespace(server=("h", 1)), [("h", 1)]),
        (
            SimpleNamespace(clients={x: SimpleNamespace(server=(x, 1)) for x in "ab"}),
            [("a", 1), ("b", 1)],
        ),
        (SimpleNamespace(addresses=["h:1", "i"]), [("h", 1), ("i", 11211)]),
    ],
    ids=["pymemcache", "pymemcache.HashClient", "pylibmc"],
)
def test_other_clients_of_memcached(client: Any, found: list[tuple[str, int]]) -> None:
    """The servers of a client are those that its public attributes name."""
    assert addresses_of(client) == found


@pytest.mark.parametrize("client", [SimpleNamespace(server="/run/memcached.sock"), object()])
def test_clients_without_addresses(client: Any) -> None:
    """A client from whom no address is to be had is refused with what to give instead."""
    with pytest.raises(ConfigurationError, match="CACHE_MEMCACHED_SERVERS.*host:port"):
        addresses_of(client)


@pytest.mark.parametrize("path", ["/state", "/1/2", "/-1", "/0x"])
def test_a_database_of_redis_is_a_number(path: str) -> None:
    """A name would be database 0, which another application may use."""
    with pytest.raises(ConfigurationError, match="CACHE_REDIS_URL"):
        open_store({"CACHE_TYPE": "redis", "CACHE_REDIS_URL": f"redis://{NOWHERE}{path}"})
