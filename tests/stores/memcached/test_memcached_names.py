"""Names of keys and servers in the memcached store, and how it clears them."""

from __future__ import annotations

import re
import socket
from typing import Any

import pytest
from memcached_servers import Telnet, memcached_server, stand_in, state_at

from sharedstate import ConfigurationError, NotSupported, State
from sharedstate.stores.memcached.item import physical_key
from sharedstate.stores.memcached.servers import addresses_of
from sharedstate.stores.registry import open_store

# Names.


def test_names() -> None:
    """Keys are called as they are, as far as the protocol allows; all differ, and none is long."""
    assert physical_key(b"flask_cache_hits/1") == b"flask_cache_hits/1"
    assert physical_key("é".encode()) == "é".encode()
    assert physical_key(b"\0lock:a b%") == b"%00lock:a%20b%25"
    keys = ["x" * length for length in range(240, 260)] + [" " * 84, " " * 85, "é " * 90, "%-a"]
    names = [physical_key(key.encode()) for key in keys]
    assert len(set(names)) == len(keys)
    assert all(re.fullmatch(rb"[^\0-\x20\x7f]{1,250}", name) for name in names)


def test_long_keys(state: State) -> None:
    """Keys that memcached would refuse are kept apart, and cleared with their state."""
    keys = ["é" * 125, "e" * 249 + "a", "e" * 249 + "b", " " * 250]
    for number, key in enumerate(keys):
        state.set(key, number)
    assert [state.get(key) for key in keys] == [0, 1, 2, 3]
    state.clear()
    assert state.get_many(*keys) == [None] * 4


# Clearing.


def test_clear_leaves_others(state: State, server: Telnet, memcached_port: int) -> None:
    """Clearing removes what has the prefix, thousands of keys too, and never all there is."""
    flushes = server.stats()[b"cmd_flush"]
    server.ask("set other 0 0 1\r\n1")
    server.ask("ms bWluZSBhbGwgbWluZQ== 1 b\r\n1")  # "mine all mine", which we cannot name.
    with state_at(memcached_port, prefix="te") as shorter, state_at(memcached_port) as same:
        for number in range(2500):
            state.set(str(number), number)
        lock = state.lock("job").acquire()
        shorter.set("st", 1)
        shorter.set("x", 1)
        state.clear()
        assert not any(state.get_many(*map(str, range(2500))))
        assert same.inc("0") == 1
        assert (shorter.get("st"), shorter.get("x"), server.get("other")) == (1, 1, b"1")
        lock.release()
    assert server.stats()[b"cmd_flush"] == flushes


def test_clear_without_prefix(memcached_port: int, empty_memcached: str) -> None:
    """A state without a prefix clears all but what is the library's own."""
    with state_at(memcached_port, prefix="") as state:
        state.set("a", 1)
        lock = state.lock("job").acquire()
        state.clear()
        assert not state.has("a")
        lock.release()


def test_clear_of_what_is_longer(memcached_port: int, empty_memcached: str) -> None:
    """A prefix of which hashed keys keep a part only is not guessed at."""
    with state_at(memcached_port, prefix=" " * 128) as state:
        state.set("a", 1)
        with pytest.raises(NotSupported, match="128 bytes"):
            state.clear()
        assert state.has("a")


@pytest.mark.parametrize("options", [["-X"], ["-o", "no_lru_crawler"]], ids=str)
def test_clear_where_keys_are_not_listed(options: list[str]) -> None:
    """A server that may not list its keys cannot clear them, and says so."""
    with memcached_server(*options) as server, state_at(server.port) as state:
        state.set("a", 1)
        with pytest.raises(NotSupported, match="-X"):
            state.clear()
        assert state.get("a") == 1


def test_clear_while_the_server_is_busy() -> None:
    """A server that lists its keys for somebody else, or not all of them, is asked again."""
    marks: list[bytes] = []
    removed: list[bytes] = []

    def behave(connection: socket.socket) -> None:
        requests = connection.makefile("rwb")
        with requests:
            while line := requests.readline():
                if line.startswith(b"set"):
                    requests.readline()
                    marks.append(line.split()[1])
                    response = b"STORED"
                elif line.startswith(b"md"):
                    removed.append(line.split()[1])
                    response = b"HD"
                elif len(marks) == 1:
                    response = b"BUSY currently processing crawler request"
                else:
                    named = [b"test%3Aa", b"other"] + marks[1:] * (len(marks) > 2)
                    response = b"".join(b"key=%s exp=-1\n" % name for name in named) + b"END"
                requests.write(response + b"\r\n")
                requests.flush()

    with stand_in(behave) as state:
        state.clear()
    assert len(marks) == 3
    assert removed == [b"test:a"]


# Settings.


@pytest.mark.parametrize(
    "servers, found",
    [
        ("memcached://h:1", [("h", 1)]),
        ("memcached://h:1,h2,[::1]:3/", [("h", 1), ("h2", 11211), ("::1", 3)]),
        ("H:1,h2:2", [("h", 1), ("h2", 2)]),
        (["h:1", ("H2", 2)], [("h", 1), ("h2", 2)]),
        (("h:1", "h2"), [("h", 1), ("h2", 11211)]),
    ],
)
def test_addresses(servers: Any, found: list[tuple[str, int]]) -> None:
    """Servers are a URL, the same without its scheme, or a list."""
    assert addresses_of(servers) == found


@pytest.mark.parametrize(
    "servers",
    ["memcached://", "h:x", "h:1,,h:2", "h:99999", "user:secret@h", "h/x", [None], [5], [("h",)]],
)
def test_wrong_addresses(servers: Any) -> None:
    """What is none is named, and no password is shown."""
    with pytest.raises(ConfigurationError, match="CACHE_MEMCACHED_SERVERS") as caught:
        open_store({"CACHE_TYPE": "memcached", "CACHE_MEMCACHED_SERVERS": servers})
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "settings, location",
    [
        ({"CACHE_TYPE": "memcached"}, "127.0.0.1:11211"),
        ({"CACHE_TYPE": "MemcachedCache", "CACHE_MEMCACHED_SERVERS": ["h", "i:1"]}, "h:11211,i:1"),
        ({"CACHE_URL": "memcached://h:1,[::1]:2"}, "h:1,[::1]:2"),
    ],
)
def test_from_settings(settings: dict[str, Any], location: str) -> None:
    """The store is found by its type, by Flask-Caching's name, and by a URL."""
    described = open_store(settings).describe()
    assert described["location"] == f"memcached://{location}"
    assert described["durability"].startswith("none")
