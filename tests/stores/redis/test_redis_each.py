"""Operations of several callers in one pipeline, and what becomes of them when Redis fails."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest
import redis
from redis_steps import Steps, each, store_at
from stand_ins import listening

from sharedstate import NotACounter, OutOfBounds, StoreFull, StoreUnavailable
from sharedstate.stores.operations import (
    KEEP,
    Batch,
    Get,
    Increment,
    Once,
    Put,
    Remove,
    Swap,
    Touch,
)
from sharedstate.stores.redis import RedisStore
from sharedstate.stores.redis.pipeline import Replicas

BOUNDED = Increment(1, 0, 0, 0, 1)
"""Refused the second time; a script."""


@pytest.fixture
def store(empty_redis: str) -> Iterator[RedisStore]:
    with closing(store_at(empty_redis)) as store:
        yield store


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What is sent, an entry each time."""
    sent = []
    send = redis.connection.AbstractConnection.send_packed_command

    def count(connection: Any, command: Any, *args: Any, **kwargs: Any) -> Any:
        sent.append(command)
        return send(connection, command, *args, **kwargs)

    monkeypatch.setattr(redis.connection.AbstractConnection, "send_packed_command", count)
    return sent


KINDS: Steps = [
    ([b"n"], Increment(1)),
    ([b"bounded"], BOUNDED),
    ([b"bounded"], BOUNDED),
    ([b"a"], Put(b"x", 0)),
    ([b"a"], Get()),
    ([b"a"], Touch(100)),
    ([b"a"], Swap(b"x", b"y", KEEP, 0)),
    ([b"token", b"once"], Once(Increment(2), b"once")),
    ([b"token", b"once"], Once(Increment(2), b"once")),
    ([b"b", b"c"], Batch([(0, Increment(1)), (1, Put(b"z", 0))])),
    ([b"c"], Remove()),
]


def test_all_kinds_are_one_round_trip(store: RedisStore, sent: list[Any]) -> None:
    """Whatever is done together is sent one time, the scripts that the server lacks too."""
    store.ping()
    store.client.script_flush()
    for _ in range(2):
        del sent[:]
        results = each(store, KINDS)
        assert len(sent) == 1
        assert isinstance(results[2], OutOfBounds)
        store.client.flushdb()
    results[2:3] = []
    assert results[:5] == [1, 1, None, (b"x", float("inf")), True]
    assert results[5:] == [(True, b"x"), (2, False), (2, True), [1, None], True]


def test_forgotten_scripts_are_loaded_again(
    store: RedisStore, server: redis.Redis, sent: list[Any]
) -> None:
    """A server that lost its scripts gets them again, and nothing is done twice."""
    each(store, [([b"n"], BOUNDED), ([b"m"], Increment(1))])
    server.script_flush()
    del sent[:]
    bounded = Increment(1, 0, 0, 0, 100)
    steps: Steps = [([b"n"], bounded), ([b"m"], Increment(1)), ([b"n"], bounded), ([b"n"], BOUNDED)]
    first, second, third, refused = each(store, steps)
    assert (first, second, third) == (2, 2, 3)
    assert isinstance(refused, OutOfBounds)
    assert len(sent) == 2
    assert server.mget("n", "m") == [b"3", b"2"]


def test_other_types_and_full_servers_are_of_one(store: RedisStore, server: redis.Redis) -> None:
    """What is refused for its key, or for want of room, leaves the others to be done."""
    server.rpush("list", "x")
    server.set("kept", 1)
    list_error, number = each(store, [([b"list"], Increment(1)), ([b"n"], Increment(1))])
    assert isinstance(list_error, NotACounter)
    assert number == 1
    server.config_set("maxmemory", 1)
    try:
        full, scripted, found, removed = each(
            store,
            [
                ([b"new"], Put(b"x", 0)),
                ([b"bounded"], BOUNDED),
                ([b"kept"], Get()),
                ([b"n"], Remove()),
            ],
        )
    finally:
        server.config_set("maxmemory", 0)
    assert isinstance(full, StoreFull)
    assert isinstance(scripted, StoreFull)
    assert (found, removed) == ((b"1", float("inf")), True)
    assert sorted(server.keys()) == [b"kept", b"list"]


@contextmanager
def cut(url: str, after: Callable[[bytes], bool], **settings: Any) -> Iterator[Any]:
    """A store whose connections end when so much has come back, which is not passed on."""
    address = redis.connection.parse_url(url)

    def relay(client: socket.socket) -> None:
        with socket.create_connection((address["host"], address["port"])) as real:
            back = threading.Thread(target=pass_on, args=(real, client))
            back.start()
            while data := client.recv(65536):
                real.sendall(data)
            real.shutdown(socket.SHUT_WR)
            back.join()

    def pass_on(real: socket.socket, client: socket.socket) -> None:
        while data := real.recv(65536):
            if after(data):
                client.shutdown(socket.SHUT_RDWR)
            else:
                client.sendall(data)

    with (
        listening(relay) as port,
        closing(store_at(f"redis://127.0.0.1:{port}/{address['db']}", **settings)) as store,
    ):
        yield store


def test_a_connection_that_breaks(empty_redis: str, server: redis.Redis) -> None:
    """Of what was sent when the connection broke nothing is known, and it was done one time."""
    is_cut = threading.Event()
    with cut(empty_redis, lambda data: is_cut.is_set()) as store:
        each(store, [([b"n"], Increment(1)), ([b"bounded"], Increment(1, 0, 0, 0, 9))])
        is_cut.set()
        with pytest.raises(StoreUnavailable) as caught:
            each(store, [([b"n"], Increment(1)), ([b"bounded"], Increment(1, 0, 0, 0, 9))])
        assert caught.value.outcome_unknown
        with pytest.raises(StoreUnavailable) as caught:
            each(store, [([b"n"], Get()), ([b"m"], Increment(1))])
    assert server.mget("n", "bounded") == [b"2", b"2"]


def test_a_connection_that_breaks_in_the_second_round(
    empty_redis: str, server: redis.Redis
) -> None:
    """Where only the forgotten scripts are sent again, the others keep what they returned."""
    with cut(empty_redis, lambda data: b"$1\r\n7" in data) as store:
        each(store, [([b"n"], Increment(1)), ([b"bounded"], Increment(6, 0, 0, 0, 9))])
        server.script_flush()
        number, unknown = each(
            store, [([b"n"], Increment(1)), ([b"bounded"], Increment(1, 0, 0, 0, 9))]
        )
    assert number == 2
    assert isinstance(unknown, StoreUnavailable)
    assert unknown.outcome_unknown
    assert isinstance(unknown.__cause__, redis.RedisError)
    assert server.mget("n", "bounded") == [b"2", b"7"]


def test_a_server_that_is_down_has_done_nothing() -> None:
    """Where no connection was made the outcome is known."""
    with closing(store_at("redis://127.0.0.1:1")) as store:
        with pytest.raises(StoreUnavailable) as caught:
            each(store, [([b"n"], Increment(1)), ([b"m"], Increment(1))])
        assert not caught.value.outcome_unknown


def test_replicas_confirm_once_for_all(empty_redis: str, server: redis.Redis) -> None:
    """One WAIT is about all that was written; too few replicas leave each write in doubt."""
    steps: Steps = [
        ([b"n"], Increment(1)),
        ([b"bounded"], BOUNDED),
        ([b"bounded"], BOUNDED),
        ([b"n"], Get()),
    ]
    server.config_resetstat()
    with closing(store_at(empty_redis, CACHE_REDIS_WAIT=1)) as store:
        store._replicas = Replicas(1, 50)
        first, second, refused, found = each(store, steps)
        assert each(store, [([b"n"], Get())] * 2) == [(b"1", float("inf"))] * 2
    assert server.info("commandstats")["cmdstat_wait"]["calls"] == 1
    for unknown in (first, second):
        assert isinstance(unknown, StoreUnavailable)
        assert unknown.outcome_unknown
        assert "0 of 1 replicas" in str(unknown)
    assert first is not second
    assert isinstance(refused, OutOfBounds)
    assert found == (b"1", float("inf"))


def test_replicas_that_confirm() -> None:
    """Where enough replicas have what was written, each operation returns its result."""

    def one_replica(connection: socket.socket) -> None:
        while request := connection.recv(65536):
            response = b"+OK\r\n" * request.count(b"CLIENT") or b":7\r\n:8\r\n:1\r\n"
            connection.sendall(response)

    with (
        listening(one_replica) as port,
        closing(store_at(f"redis://127.0.0.1:{port}?protocol=2", CACHE_REDIS_WAIT=1)) as store,
    ):
        assert each(store, [([b"n"], Increment(1)), ([b"n"], Increment(1))]) == [7, 8]


def test_a_user_who_may_not_wait(empty_redis: str, server: redis.Redis) -> None:
    """Writes that cannot be confirmed are in doubt, for whatever reason."""
    server.acl_setuser(
        "writer", enabled=True, nopass=True, categories=["+@all"], commands=["-wait"], keys="*"
    )
    try:
        url = empty_redis.replace("redis://", "redis://writer:x@")
        with closing(store_at(url, CACHE_REDIS_WAIT=1)) as store:
            unknown = each(store, [([b"n"], Increment(1)), ([b"m"], Increment(1))])
    finally:
        server.acl_deluser("writer")
    assert all(error.outcome_unknown for error in unknown)
    assert server.mget("n", "m") == [b"1", b"1"]
