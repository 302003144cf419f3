"""A database with standbys: what a fail-over costs, and what leads to the right server."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from typing import Any

import pytest
from backends import innermost
from database_servers import postgresql_client
from postgresql_load import Load, patiently, state_at
from postgresql_standbys import DEADLINE, replicated, until
from sqlalchemy import make_url
from stand_ins import listening

from sharedstate import State, StoreUnavailable
from sharedstate.stores.database.idle import Idle
from sharedstate.stores.database.store import DatabaseStore


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_synchronous() -> None:
    """With a standby that has each write, a fail-over under load loses no number and gives none
    twice; the application finds the new primary, and so does the other standby."""
    with replicated("abc", "synchronous_standby_names=ANY 1 (a, b, c)") as servers:
        with Load(servers.url) as load:
            load.wait_for(50)
            began = time.monotonic()
            servers.fail_over()
            promoted = time.monotonic()
            load.wait_for(1)
            back = time.monotonic()
            load.wait_for(50)
        with state_at(servers.url) as state:
            load.check(*patiently(lambda: state.get_many("plain", "tokens")))
    print(f"{len(load.plain)} increments acknowledged and {len(load.tokens)} repeated by token;")
    print(f"none lost, none twice, {load.unknown} with an unknown outcome;")
    print(f"promoted after {promoted - began:.1f} s, counted on {back - promoted:.1f} s later")


_WRITTEN = "SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')"


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_asynchronous() -> None:
    """With a standby that lags behind, a fail-over loses what was acknowledged and gives it again;
    the same lag is an unknown outcome where the primary waits for the standby."""
    with replicated("ab") as servers, state_at(servers.url) as state:
        primary, standby = servers
        patiently(lambda: state.set("n", 3))
        with state_at(standby.url) as alone:
            with pytest.raises(StoreUnavailable, match="read-only|hot standby"):
                alone.get("n")
        servers.set_synchronous("ANY 1 (b)")
        sender = primary.ask("SELECT pid FROM pg_stat_replication")
        os.kill(sender, signal.SIGSTOP)
        assert patiently(lambda: state.get("n")) == 3
        store = innermost(state.store)
        store.timeout, before = 0.5, store.timeout
        with pytest.raises(StoreUnavailable) as caught:
            state.inc("n")
        store.timeout = before
        assert caught.value.outcome_unknown
        assert patiently(lambda: state.get("n")) == 3  # Nobody sees what may be lost.
        os.kill(sender, signal.SIGCONT)
        until(lambda: patiently(lambda: state.get("n")) == 4)
        servers.set_synchronous("")
        until(lambda: standby.received() >= primary.ask(_WRITTEN))
        os.kill(sender, signal.SIGSTOP)
        acknowledged = [patiently(lambda: state.inc("n")) for _ in range(3)]
        servers.fail_over()
        assert patiently(lambda: state.get("n")) == 4
        number = patiently(lambda: state.inc("n"))
        assert number in acknowledged
    print(f"{acknowledged} were acknowledged and lost, {number} was given again")


@contextmanager
def set_to(client: Any, name: str, value: str) -> Iterator[None]:
    """The server has a setting while the block runs."""
    client.execute(f"ALTER SYSTEM SET {name} = '{value}'")
    client.execute("SELECT pg_reload_conf()")
    try:
        yield
    finally:
        client.execute(f"ALTER SYSTEM RESET {name}")
        client.execute("SELECT pg_reload_conf()")


def error_of(operation: Callable[[], Any]) -> StoreUnavailable:
    """The first error of an operation that is repeated until it has one."""
    while True:
        try:
            operation()
        except StoreUnavailable as error:
            return error


def test_a_wait_that_is_cancelled(empty_postgresql: str) -> None:
    """A commit that no standby has, as somebody cancelled the wait, is an unknown outcome."""
    numbers: list[int] = []
    waits = "FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
    cancel = f"SELECT pg_cancel_backend(pid) {waits}"
    with closing(State(DatabaseStore(empty_postgresql, timeout=DEADLINE))) as state:
        state.inc("n")
        with postgresql_client(empty_postgresql) as client:
            with set_to(client, "synchronous_standby_names", "nobody"):
                canceller = threading.Thread(
                    target=until, args=[lambda: client.execute(cancel).fetchall()]
                )
                canceller.start()
                error = error_of(lambda: numbers.append(state.inc("n")))
                canceller.join(DEADLINE)
        assert error.outcome_unknown
        assert "synchronous replication" in str(error)
        assert state.get("n") == len(numbers) + 2
        assert state.inc("n") == len(numbers) + 3


def test_a_server_that_is_no_longer_primary(empty_postgresql: str) -> None:
    """A write that it refuses is known not to be applied, and costs all connections to it."""
    ours = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'sharedstate'"
    store = DatabaseStore(empty_postgresql)
    with closing(State(store)) as state, postgresql_client(empty_postgresql) as client:
        count = 0

        def increment() -> None:
            nonlocal count
            count = state.inc("n")

        increment()
        database: Any = store._opened.value
        with database.connection(), database.connection():
            assert client.execute(ours).fetchone() == (2,)
        with set_to(client, "default_transaction_read_only", "on"):
            error = error_of(increment)
            assert "read-only" in str(error)
            assert not error.outcome_unknown
            until(lambda: client.execute(ours).fetchone() == (0,))
        assert patiently(lambda: state.inc("n")) == count + 1


class Kept:
    """A connection as far as it is kept."""

    def __init__(self, generation: int) -> None:
        self.generation = generation
        self.closed = False

    def is_usable(self) -> bool:
        return True

    def hang_up(self) -> None:
        self.closed = True


def test_given_up_once() -> None:
    """What is used when a server fails is not kept; a second failure does not cost what is new."""
    idle: Idle[Kept] = Idle()
    unused, used, failed = (Kept(idle.generation) for _ in range(3))
    idle.put(unused)
    idle.give_up(failed)
    new = Kept(idle.generation)
    idle.put(new)
    idle.put(used)
    idle.give_up(used)
    assert (unused.closed, used.closed, new.closed) == (True, True, False)
    assert idle.take() is new
    assert idle.take() is None


# Which of the hosts.


@pytest.mark.slow
def test_the_one_that_was_primary_is_tried_first(empty_postgresql: str) -> None:
    """Hosts that hang or refuse are passed over in time, and are not asked again."""
    real = make_url(empty_postgresql)
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        hosts = f"127.0.0.1:{silent.getsockname()[1]},127.0.0.1:1,{real.host}:{real.port}"
        store = DatabaseStore(f"postgresql://postgres@{hosts}/postgres", timeout=6)
        with closing(State(store)) as state:
            assert state.inc("n") == 1
            silent.accept()[0].close()
            assert store._opened.value
            store._opened.value.disconnect()
            assert state.inc("n") == 2
            silent.setblocking(False)
            with pytest.raises(BlockingIOError):
                silent.accept()


@pytest.mark.slow
def test_one_that_is_slow(empty_postgresql: str) -> None:
    """A host that needs more than its share of the time is not given up for one that hangs."""
    real = make_url(empty_postgresql)

    def relay(near: socket.socket) -> None:
        silent.accept()[0].close()
        with socket.create_connection((real.host, real.port)) as far:
            back = threading.Thread(target=_pump, args=(far, near))
            back.start()
            _pump(near, far)
            back.join()

    with closing(socket.create_server(("127.0.0.1", 0))) as silent, listening(relay) as slow:
        hosts = f"127.0.0.1:{slow},127.0.0.1:{silent.getsockname()[1]}"
        store = DatabaseStore(f"postgresql://postgres@{hosts}/postgres", timeout=6)
        with closing(State(store)) as state:
            assert state.inc("n") == 1


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(1 << 16):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
