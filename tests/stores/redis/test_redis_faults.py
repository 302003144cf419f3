"""Redis servers that are down, slow, silent, or restart."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import redis
from backends import innermost
from redis_servers import redis_server
from redis_states import SECONDS, stand_in, state_at

from race.servers.processes import reserved_port
from sharedstate import (
    ABSENT,
    State,
    StoreUnavailable,
)
from sharedstate.stores.guards import breaker
from sharedstate.stores.redis.pipeline import Replicas

WRITES: dict[str, Callable[[State], Any]] = {
    "set": lambda s: s.set("a", 1),
    "inc": lambda s: s.inc("a"),
    "bounded inc": lambda s: s.inc("a", maximum=5),
    "set_many": lambda s: s.set_many({"a": 1, "b": 2}),
}


@pytest.mark.parametrize("name", WRITES)
def test_a_write_whose_response_is_lost_is_not_sent_again(name: str) -> None:
    """A server that dies after it read a write saw it once, and the error says what is unknown."""
    seen: list[bytes] = []

    def die(connection: socket.socket) -> None:
        connection.settimeout(SECONDS)
        while True:
            request = connection.recv(65536)
            if b"CLIENT" not in request:
                break
            connection.sendall(b"+OK\r\n" * request.count(b"CLIENT"))
        if request:
            seen.append(request)

    with stand_in(die) as state, pytest.raises(StoreUnavailable) as caught:
        WRITES[name](state)
    assert caught.value.outcome_unknown
    assert len(seen) == 1


def test_a_server_that_hangs_is_an_error_in_bounded_time() -> None:
    """A server that accepts and never responds raises within ``CACHE_TIMEOUT``."""
    tested = threading.Event()

    def hang(connection: socket.socket) -> None:
        tested.wait()

    with stand_in(hang, CACHE_TIMEOUT=0.1) as state:
        try:
            for operation in (lambda: state.get("a"), lambda: state.inc("a"), state.keys):
                with pytest.raises(StoreUnavailable):
                    operation()
        finally:
            tested.set()


def test_a_server_that_is_down_has_changed_nothing() -> None:
    """Where no connection was made the outcome is known."""
    state = state_at("redis://user:secret@127.0.0.1:1")
    with pytest.raises(StoreUnavailable) as caught:
        state.inc("a")
    assert not caught.value.outcome_unknown
    assert "secret" not in f"{caught.value}{state.store.describe()}"


def test_a_restarted_server_is_used_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Idle connections to a server that was restarted are noticed before something is sent."""
    monkeypatch.setattr(breaker, "PROBE_SECONDS", 0)
    with reserved_port() as port, closing(state_at(f"redis://127.0.0.1:{port}")) as state:
        with redis_server(tmp_path, "--save", "", port=port):
            assert state.inc("a") == 1
        with pytest.raises(StoreUnavailable):
            state.inc("a")
        with redis_server(tmp_path, "--save", "", port=port):
            assert state.compare_and_set("a", ABSENT, 5)
            assert state.inc("a") == 6


def test_too_few_replicas_are_an_error(empty_redis: str) -> None:
    """A write that not enough replicas have is an error which says that it may be applied."""
    state = state_at(empty_redis, CACHE_REDIS_WAIT=1)
    store = innermost(state.store)
    assert store._replicas == Replicas(1, SECONDS * 500)
    store._replicas = Replicas(1, 50)
    with pytest.raises(StoreUnavailable, match="0 of 1 replicas") as caught:
        state.inc("n")
    assert caught.value.outcome_unknown
    state.close()

    def one_replica(connection: socket.socket) -> None:
        while request := connection.recv(65536):
            if b"CLIENT" in request:
                connection.sendall(b"+OK\r\n" * request.count(b"CLIENT"))
            else:
                connection.sendall(b":1\r\n")

    with (
        stand_in(one_replica, CACHE_REDIS_WAIT=2) as state,
        pytest.raises(StoreUnavailable, match="1 of 2") as caught,
    ):
        state.inc("n")
    assert caught.value.outcome_unknown
    with stand_in(one_replica, CACHE_REDIS_WAIT=1) as state:
        assert state.inc("n") == 1


def test_a_write_without_a_response_in_time_may_be_applied() -> None:
    """After a time-out the outcome of a write is unknown, and a read has none."""
    tested = threading.Event()

    def hang(connection: socket.socket) -> None:
        while request := connection.recv(65536):
            if b"CLIENT" in request:
                connection.sendall(b"+OK\r\n" * request.count(b"CLIENT"))
            elif b"PING" in request:
                connection.sendall(b"+PONG\r\n")
            else:
                tested.wait()
                return

    for operation, unknown in ((lambda s: s.inc("a"), True), (lambda s: s.get("a"), False)):
        with stand_in(hang) as state:
            state.store.ping()
            [connection] = innermost(state.store).client.connection_pool._available_connections
            connection._sock.settimeout(0.1)
            try:
                with pytest.raises(StoreUnavailable) as caught:
                    operation(state)
                assert caught.value.outcome_unknown is unknown
            finally:
                tested.set()
        tested.clear()


KEYS = [f"k{number}" for number in range(20)]
MANY: dict[str, Callable[[State], list[Any]]] = {
    "get_many": lambda s: s.get_many(*KEYS),
    "read": lambda s: [
        record[0] for record in s.store.read([s.keyspace.key(k) for k in KEYS]) if record
    ],
    "batch": lambda s: [item.value for item in _items_in_a_batch(s)],
}


def _items_in_a_batch(state: State) -> list[Any]:
    batch = state.batch()
    for key in KEYS:
        batch.item(key)
    return batch.apply()


@pytest.mark.parametrize("name", MANY)
def test_many_keys_are_read_at_one_moment(server: redis.Redis, name: str) -> None:
    """Whatever is written while the request arrives piece by piece, all values are of one time."""
    address = server.connection_pool.connection_kwargs
    number = 0

    def write() -> None:
        nonlocal number
        number += 1
        server.mset({f"test:{key}": number for key in KEYS})

    def relay(client: socket.socket) -> None:
        with socket.create_connection((address["host"], address["port"])) as real:
            back = threading.Thread(target=_pass_on, args=(real, client))
            back.start()
            while data := client.recv(65536):
                for start in range(0, len(data), 40):
                    real.sendall(data[start : start + 40])
                    write()
            real.shutdown(socket.SHUT_WR)
            back.join()

    write()
    options = {"CACHE_REDIS_DB": address["db"], "CACHE_KEY_PREFIX": "test:"}
    with stand_in(relay, **options) as state:
        MANY[name](state)  # Connects, and has the scripts loaded.
        assert len(set(MANY[name](state))) == 1


def _pass_on(source: socket.socket, sink: socket.socket) -> None:
    while data := source.recv(65536):
        sink.sendall(data)
