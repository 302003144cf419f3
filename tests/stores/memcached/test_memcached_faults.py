"""The memcached store on servers that are down, slow or several, and beside others."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest
from memcached_servers import Telnet, memcached_server, stand_in, state_at

from sharedstate import (
    ABSENT,
    NotACounter,
    NotSupported,
    State,
    StoreUnavailable,
)
from sharedstate.stores.memcached.item import physical_key
from sharedstate.stores.memcached.server import Connection
from sharedstate.stores.memcached.servers import Servers
from sharedstate.stores.memcached.store import MemcachedStore
from sharedstate.stores.operations import Batch, Increment, Swap

# Servers that misbehave.


WRITES: dict[str, tuple[bytes, Callable[[State], Any]]] = {
    "set": (b"", lambda s: s.set("a", 1)),
    "add": (b"", lambda s: s.add("a", 1)),
    "inc": (b"", lambda s: s.inc("a")),
    "bounded inc": (b"EN\r\n", lambda s: s.inc("a", maximum=5)),
    "bounded inc of one": (b"VA 1 c7\r\n1\r\n", lambda s: s.inc("a", maximum=5)),
    "delete": (b"VA 1 c7\r\n1\r\n", lambda s: s.delete("a")),
}


@pytest.mark.parametrize("name", WRITES)
def test_a_write_whose_response_is_lost_is_not_sent_again(name: str) -> None:
    """A server that dies after it read a write saw it once, and the error says what is unknown."""
    found, write = WRITES[name]
    seen: list[bytes] = []

    def die(connection: socket.socket) -> None:
        connection.settimeout(30)
        request = connection.recv(65536)
        if request.startswith(b"mg"):
            connection.sendall(found)
            request = connection.recv(65536)
        seen.append(request)

    with stand_in(die) as state, pytest.raises(StoreUnavailable) as caught:
        write(state)
    assert caught.value.outcome_unknown
    assert len(seen) == 1


@pytest.mark.parametrize("write", [lambda s: s.get("a"), lambda s: s.inc("a", maximum=5)])
def test_a_lost_look_has_changed_nothing(write: Callable[[State], Any]) -> None:
    """Where only a read was sent the outcome is known."""
    with (
        stand_in(lambda connection: connection.recv(65536) and None) as state,
        pytest.raises(StoreUnavailable) as caught,
    ):
        write(state)
    assert not caught.value.outcome_unknown


@pytest.mark.parametrize(
    "response, unknown",
    [(b"ERROR", False), (b"SERVER_ERROR shaken", False), (b"HTTP/1.1 400 Bad Request", True)],
)
def test_a_response_that_is_none(response: bytes, unknown: bool) -> None:
    """What is not memcached, or too old, is an error that shows the response."""

    def behave(connection: socket.socket) -> None:
        while connection.recv(65536):
            connection.sendall(response + b"\r\n")

    with stand_in(behave) as state:
        for operation, is_unknown in ((lambda: state.inc("a"), unknown), (state.store.ping, False)):
            with pytest.raises(StoreUnavailable, match=response.decode()) as caught:
                operation()
            assert caught.value.outcome_unknown is is_unknown
            assert ("1.6.10" in str(caught.value)) == (response == b"ERROR")


def test_a_server_that_hangs_is_an_error_in_bounded_time() -> None:
    """A server that accepts and never responds raises within ``CACHE_TIMEOUT``."""
    tested = threading.Event()
    with stand_in(lambda connection: tested.wait() and None, timeout=0.1) as state:
        try:
            for operation in (lambda: state.get("a"), lambda: state.inc("a"), state.store.ping):
                with pytest.raises(StoreUnavailable, match="timed out"):
                    operation()
        finally:
            tested.set()


def test_a_server_that_is_down_has_changed_nothing() -> None:
    """Where no connection was made the outcome is known."""
    for host in ("127.0.0.1", "no.such.host.invalid", "a" * 70):
        with closing(MemcachedStore([(host, 1)])) as store:
            with pytest.raises(StoreUnavailable, match="not available") as caught:
                State(store).inc("a")
            assert not caught.value.outcome_unknown


def test_a_restarted_server_has_lost_everything() -> None:
    """Idle connections to it are noticed before something is sent, and counters begin anew."""
    with memcached_server() as server, state_at(server.port) as state:
        assert state.inc("a", 5) == 5
        server.kill()
        server.wait()
        with pytest.raises(StoreUnavailable) as caught:
            state.inc("a")
        assert not caught.value.outcome_unknown
        with memcached_server(port=server.port):
            assert state.compare_and_set("a", ABSENT, 1)
            assert state.inc("a") == 2


def test_a_response_is_not_left_for_the_next(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is killed before its response comes, as greenlets are, does not leave it for others."""
    state.set("a", 1)

    def killed(connection: Connection) -> Any:
        connection._poll.poll()  # Until it has counted.
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Connection, "number", killed)
        state.inc("a")
    assert state.get("a") == 2
    assert state.get("b") is None


class Overtaken(Increment):
    """While it is done, somebody else does the same."""

    __slots__ = ("server",)

    def __call__(self, records: Any, now: float) -> Any:
        self.server.ask("incr test:n 1")
        return super().__call__(records, now)


def test_always_too_late(memcached_port: int, empty_memcached: str, server: Telnet) -> None:
    """Who never comes first gives up after a while, and has changed nothing."""
    with state_at(memcached_port) as state:
        state.set("n", 0)
        state.store.timeout = 0.01
        operation = Overtaken(1000, maximum=10**6)
        operation.server = server
        with pytest.raises(StoreUnavailable, match="faster") as caught:
            state.store.transact([b"test:n"], operation)
        assert not caught.value.outcome_unknown
        assert 0 < state.get("n") < 1000


def test_what_it_cannot_do(state: State) -> None:
    """Several keys in one step, tokens and listing are refused, and nothing happens."""
    for operation in (
        lambda: state.inc("n", once="token"),
        lambda: state.inc_many({"n": 1}),
        state.keys,
        lambda: state.store.page(b"", None, 10),
        lambda: state.store.transact([b"a", b"b"], Batch([])),
    ):
        with pytest.raises(NotSupported):
            operation()
    assert not state.has("n")
    state.set("text", "text")
    with pytest.raises(NotACounter):
        state.inc("text")


# Several servers.

KEYS = [f"key {number}" for number in range(200)]


def test_one_of_two_is_down() -> None:
    """Its keys have no other home: they are errors, and the other server's go on."""
    with memcached_server() as one, memcached_server() as two:
        with state_at(one.port, two.port) as state, state_at(two.port, one.port) as turned:
            assert [state.inc(key) for key in KEYS] == [1] * len(KEYS)
            assert turned.get_many(*KEYS) == [1] * len(KEYS)
            with Telnet(one.port) as telnet:
                theirs = {key for key in KEYS if telnet.get("test:" + key.replace(" ", "%20"))}
            assert 60 < len(theirs) < 140
            one.kill()
            one.wait()
            for key in KEYS:
                if key in theirs:
                    with pytest.raises(StoreUnavailable, match=str(one.port)):
                        state.inc(key)
                else:
                    assert state.inc(key) == 2
            for operation in (lambda: state.get_many(*KEYS), state.clear, state.store.ping):
                with pytest.raises(StoreUnavailable, match=str(one.port)):
                    operation()
            with memcached_server(port=one.port):
                assert [key for key in KEYS if turned.inc(key) == 1] == sorted(
                    theirs, key=KEYS.index
                )
                state.clear()
                assert turned.get_many(*KEYS) == [None] * len(KEYS)


def test_a_server_more() -> None:
    """One server more takes its share from all others, and moves nothing between these."""
    few, more = ([(f"host{number}", 11211) for number in range(count)] for count in (4, 5))
    names = [physical_key(str(number).encode()) for number in range(2000)]
    before, after = Servers(few, 1), Servers(more, 1)
    moves = [
        (before.server_of(name).name, after.server_of(name).name)
        for name in names
        if before.server_of(name).name != after.server_of(name).name
    ]
    assert {home for _, home in moves} == {"host4:11211"}
    assert len({home for home, _ in moves}) == 4
    assert 300 < len(moves) < 500


class Removed(Swap):
    """The first time it is done, somebody else writes another value."""

    __slots__ = ("server",)

    def __call__(self, records: Any, now: float) -> Any:
        if records[0][0] == b"1":
            self.server.ask(b"set test:n 0 0 1\r\n2")
        return super().__call__(records, now)


def test_a_value_that_changes_before_it_is_removed(state: State, server: Telnet) -> None:
    """What is removed is the value that was looked at, and no newer one."""
    state.set("n", 1)
    operation = Removed(b"1", None, 0, 0)
    operation.server = server
    assert state.store.transact([b"test:n"], operation) == (False, b"2")
    assert state.get("n") == 2


class MadeMeanwhile(Increment):
    """The first time it is done, somebody else adds the counter."""

    __slots__ = ("server",)

    def __call__(self, records: Any, now: float) -> Any:
        if records[0] is None:
            assert self.server.ask(b"add test:n 0 0 1\r\n5") == b"STORED"
        return super().__call__(records, now)


def test_a_counter_that_another_one_makes_first(state: State, server: Telnet) -> None:
    """Of two that find no counter the second one adds to what the first one made."""
    operation = MadeMeanwhile(1, maximum=9)
    operation.server = server
    assert state.store.transact([b"test:n"], operation) == 6
    assert state.get("n") == 6


def test_after_a_time_out_the_connection_is_not_used_again() -> None:
    """A response that comes too late is nobody's."""
    connections: list[list[bytes]] = []

    def behave(connection: socket.socket) -> None:
        connections.append([])
        while request := connection.recv(65536):
            connections[-1].append(request)
            if len(connections) > 1:
                connection.sendall(b"EN\r\n")
            elif len(connections[0]) > 1:
                connection.sendall(b"VA 1 c7\r\n1\r\n")

    with stand_in(behave, timeout=0.1) as state:
        with pytest.raises(StoreUnavailable, match="timed out"):
            state.get("a")
        for server in state.store._servers:
            server._timeout = 30
        assert state.get("b") is None
    assert [len(requests) for requests in connections] == [1, 1]
