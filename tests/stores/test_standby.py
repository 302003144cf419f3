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
from postgresql_standbys import DEADLINE, replicated, until
from sqlalchemy import make_url
from stand_ins import listening

from sharedstate import ConfigurationError, State, StoreUnavailable
from sharedstate.stores.database.dialects.mysql import MySQL
from sharedstate.stores.database.dialects.postgresql import PostgreSQL
from sharedstate.stores.database.idle import Idle
from sharedstate.stores.database.store import DatabaseStore
from sharedstate.stores.registry import open_store


@contextmanager
def state_at(url: str) -> Iterator[State]:
    """A state as an application has it."""
    settings = {"CACHE_URL": url, "CACHE_TIMEOUT": 5, "CACHE_KEY_PREFIX": "test:"}
    with closing(State.from_settings(settings)) as state:
        yield state


class Load:
    """Threads that count until they are told to stop, some with tokens, each through its own store.

    One with a token is repeated until it has an answer.
    """

    def __init__(self, url: str) -> None:
        self.plain: list[int] = []
        self.tokens: list[int] = []
        self.unknown = 0
        self._url = url
        self._lock = threading.Lock()
        self._stop = threading.Event()
        works = (self._count, self._count, self._count_once, self._count_once)
        self._threads = [
            threading.Thread(target=self._work, args=(work, f"{number}"))
            for number, work in enumerate(works)
        ]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(DEADLINE)

    def wait_for(self, more: int) -> None:
        """Wait until so many more were counted of each kind."""
        goals = [(kind, len(kind) + more) for kind in (self.plain, self.tokens)]
        until(lambda: all(len(kind) >= goal for kind, goal in goals))

    def check(self, plain: int, tokens: int) -> None:
        """Every number was given once, none is lost, and no more is counted than may be."""
        assert sorted(self.tokens) == list(range(1, tokens + 1))
        assert len(set(self.plain)) == len(self.plain)
        assert max(self.plain) <= plain
        assert len(self.plain) <= plain <= len(self.plain) + self.unknown

    def _work(self, work: Any, name: str) -> None:
        with state_at(self._url) as state:
            work(state, name)

    def _count(self, state: State, name: str) -> None:
        while not self._stop.is_set():
            try:
                self.plain.append(state.inc("plain"))
            except StoreUnavailable as error:
                with self._lock:
                    self.unknown += error.outcome_unknown
                self._stop.wait(0.02)

    def _count_once(self, state: State, name: str) -> None:
        done = 0
        while not self._stop.is_set():
            self.tokens.append(
                patiently(lambda: state.inc("tokens", once=f"{name} {done}"))  # noqa: B023
            )
            done += 1


def patiently(operation: Any) -> Any:
    """What the operation returns once its store is there."""
    found: list[Any] = []

    def succeeds() -> bool:
        try:
            found.append(operation())
        except StoreUnavailable:
            return False
        return True

    until(succeeds)
    return found[0]


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


@pytest.mark.parametrize(
    "url, location",
    [
        ("postgresql+psycopg://u:s@/d?host=a:1,b:2&target_session_attrs=read-write", "a:1,b:2/d"),
        ("postgresql://u:s@/d?host=a:1&host=b:2", "a:1,b:2/d"),
        ("postgresql://u:s@/d?host=a,b&port=1,2", "a:1,b:2/d"),
        ("postgresql://u:s@a,[::1]:2/d?application_name=s", "a:5432,[::1]:2/d"),
        ("postgresql://u:s@/d?host=/run/postgresql", "/run/postgresql/d"),
        ("postgresql://u:1,2?s@a/d", "a/d"),
        ("postgresql://u:s?host=1,2@a/d", "a/d"),
    ],
)
def test_urls(url: str, location: str) -> None:
    """A URL names the servers as SQLAlchemy or libpq write it, and the password is not shown."""
    shown = open_store({"CACHE_URL": url}).describe()["location"]
    assert shown == f"postgresql+psycopg://{location}"


@pytest.mark.parametrize(
    "url, problem",
    [
        ("postgresql://a,b/d?target_session_attrs=prefer-standby", "target_session_attrs.*standby"),
        ("postgresql://u:s@a:b:c,d/d", "entry 1"),
        ("mariadb://u:s@a,b/d", "only one of PostgreSQL"),
    ],
)
def test_bad_urls(url: str, problem: str) -> None:
    """A standby is no store, and a host that is none is refused when the application is made."""
    with pytest.raises(ConfigurationError, match=problem):
        open_store({"CACHE_URL": url})


RISKS: dict[str, tuple[dict[str, str], str]] = {
    "no standby": ({"synchronous_standby_names": ""}, "no write waits for a standby"),
    "local": ({"synchronous_commit": "local"}, "no write waits for a standby"),
    "off": ({"synchronous_commit": "off"}, "a power cut loses"),
    "none": ({}, ""),
}


@pytest.mark.parametrize("name", RISKS)
def test_risks(name: str) -> None:
    """Settings of the server that lose what it has acknowledged are named, and no others."""
    changes, expected = RISKS[name]
    settings = {"fsync": "on", "synchronous_commit": "on", "synchronous_standby_names": "ANY 1 (b)"}
    found = PostgreSQL("sharedstate", 2, "normal").risks(settings | changes, has_standbys=True)
    assert len(found) == bool(expected)
    assert expected in "".join(found)


def test_risks_of_a_server(empty_postgresql: str) -> None:
    """The server is asked; one without standbys need not wait for any."""
    with closing(DatabaseStore(empty_postgresql)) as store:
        (risk,) = store.risks()  # It is one for tests.
    assert "fsync is off" in risk


# MariaDB and MySQL.


class Told:
    """A connection of PyMySQL's to a server with these variables."""

    def __init__(self, **variables: str) -> None:
        self.variables = {"max_allowed_packet": "1048576", **variables}

    def cursor(self) -> Any:
        return closing(self)

    def get_server_info(self) -> str:
        return "10.11.19-MariaDB"

    def execute(self, statement: str) -> None:
        pass

    def fetchall(self) -> Any:
        return tuple(self.variables.items())

    def close(self) -> None:
        pass


def test_mysql() -> None:
    """A node of a Galera cluster is refused by name; what could be one and is none is not. A
    server that does not sync is a risk."""
    dialect = MySQL("sharedstate", 2, "normal")
    for variables in ({}, {"wsrep_on": "OFF"}, {"wsrep_on": "ON", "wsrep_provider": "none"}):
        dialect.prepare(Told(**variables))
    node = Told(wsrep_on="ON", wsrep_provider="/usr/lib/galera/libgalera_smm.so")
    with pytest.raises(ConfigurationError, match="Galera.*jepsen"):
        dialect.prepare(node)
    assert not dialect.risks({"innodb_flush_log_at_trx_commit": "1"}, has_standbys=False)
    assert dialect.risks({"innodb_flush_log_at_trx_commit": "2"}, has_standbys=False)
