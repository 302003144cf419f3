"""Listing the keys of a Redis server, page by page."""

from __future__ import annotations

import socket
from types import SimpleNamespace

import pytest
import redis
from redis_states import SECONDS, stand_in

from sharedstate import (
    InvalidKey,
    State,
)
from sharedstate.stores.redis import store as redis_store


@pytest.mark.parametrize("name", [b"\xff", b"a\xff", b"\xc3"], ids=repr)
def test_a_cursor_names_text(state: State, server: redis.Redis, name: bytes) -> None:
    """A cursor with a key that is no text is refused, even if a stranger put it there."""
    server.set(b"test:" + name, 1)
    with pytest.raises(InvalidKey, match="cursor"):
        state.items(cursor=f"-1:{name.hex()}")
    assert state.inc("n") == 1


def test_a_prefix_without_keys_takes_few_looks(state: State, server: redis.Redis) -> None:
    """A page of one item, of which there is none, is not looked for key by key."""
    server.mset({f"other:{number}": 1 for number in range(20_000)})
    server.config_resetstat()
    assert state.items(limit=1) == ([], None)
    assert server.info("commandstats")["cmdstat_scan"]["calls"] < 50


def test_pages_of_a_rare_prefix(state: State, server: redis.Redis) -> None:
    """Every key is on one page, however many others there are, and cursors stay short."""
    server.mset({f"other:{number}": 1 for number in range(20_000)})
    names = {str(number) for number in range(40)}
    state.set_many(dict.fromkeys(names, 1))
    listed, cursor = [], None
    while True:
        items, cursor = state.items(cursor=cursor, limit=1)
        listed += [item.key for item in items]
        if cursor is None:
            break
        assert len(cursor) < 500
    assert sorted(listed) == sorted(names)


def test_a_page_ends_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A walk through more keys than there is time for ends early, with where to go on."""
    now = [1000.0]
    looks = 0

    def walk(connection: socket.socket) -> None:
        nonlocal looks
        while looks < 100 and (request := connection.recv(65536)):
            if b"SCAN" in request:
                looks += 1
                now[0] += SECONDS / 10
                connection.sendall(b"*2\r\n$2\r\n17\r\n*0\r\n")
            else:
                connection.sendall(b"+OK\r\n" * request.count(b"CLIENT"))

    monkeypatch.setattr(redis_store, "time", SimpleNamespace(monotonic=lambda: now[0]))
    with stand_in(walk) as state:
        assert state.items(limit=1) == ([], "17")
    assert looks == 6  # Half of the time is for a walk.


def test_a_key_that_is_scanned_twice_is_listed_once() -> None:
    """SCAN may name a key twice, as while its table is resized; a page does not."""

    def repeat(connection: socket.socket) -> None:
        while request := connection.recv(65536):
            if b"SCAN" in request:
                twice = b"$13\r\nflask_cache_a\r\n" * 2
                end = b"0" if b"17" in request else b"17"
                connection.sendall(b"*2\r\n$%d\r\n%b\r\n*2\r\n%b" % (len(end), end, twice))
            else:
                connection.sendall(b"+OK\r\n" * request.count(b"CLIENT"))

    with stand_in(repeat) as state:
        assert state.store.page(b"flask_cache_", None, 2) == ([b"flask_cache_a"], None)


def test_a_cursor_names_each_key_once(state: State) -> None:
    """A forged cursor cannot have one key read a thousand times, in whatever letters."""
    state.set("j", 1)
    for names in ("6a:6a", "6a:6A"):
        with pytest.raises(InvalidKey, match="cursor"):
            state.items(cursor=f"-1:{names}", limit=1000)
    assert [item.key for item in state.items(cursor="-1:6a")[0]] == ["j"]


def test_what_is_none_of_ours_is_not_listed(state: State, server: redis.Redis) -> None:
    """A key whose name is no text, or that holds another type, does not block the listing."""
    state.set_many({str(number): number for number in range(50)})
    for number in range(50):
        server.set(b"test:\xff%d" % number, 1)
        server.rpush(f"test:list{number}", 1)
    assert len(state.keys()) == 50
    listed, cursor = [], None
    while True:
        items, cursor = state.items(cursor=cursor, limit=3)
        listed += [item.value for item in items]
        if cursor is None:
            break
    assert sorted(listed) == list(range(50))
    state.clear()
    assert server.dbsize() == 0
