"""What only the database store promises, on real servers and on ones that misbehave."""

from __future__ import annotations

import os
import signal
import socket
import sqlite3
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import crowd
import psycopg
import pymysql
import pytest
from backends import FakeClock
from database_servers import (
    TABLE,
    mariadb,
    mariadb_client,
    postgresql,
    postgresql_client,
    server_directory,
)
from sqlalchemy import make_url

from race.judging.checkers import exactly_one_to
from race.servers.processes import reserved_port
from sharedstate import ConfigurationError, State, StoreFull, StoreUnavailable, ValueTooLarge
from sharedstate.errors import SharedStateError
from sharedstate.settings import checked
from sharedstate.stores.database import engine as database_engine
from sharedstate.stores.database.dialects import postgresql as postgresql_dialect
from sharedstate.stores.database.engine import Database
from sharedstate.stores.database.errors import Conflict, NoTable
from sharedstate.stores.database.fetch import rows
from sharedstate.stores.database.store import DatabaseStore, ddl
from sharedstate.stores.operations import NEVER, Each, Increment, Operation
from sharedstate.stores.registry import open_store
from sharedstate.stores.support.semaphore import FairSemaphore

SECONDS = 30  # Guards against a hang, and nothing else.

Execute = Callable[..., list[Any]]


def state_at(url: str, **settings: Any) -> State:
    """A state without the breaker, which would answer in the store's place.

    It has all the time that a busy machine may need: who is to give up gets less once it has
    connected, see `impatient` and `limited`.
    """
    settings = {
        "CACHE_DATABASE_URL": url,
        "CACHE_KEY_PREFIX": "test:",
        "CACHE_TIMEOUT": SECONDS,
    } | settings
    state = State.from_settings({"CACHE_TYPE": "simple"} | settings)
    state.store = DatabaseStore.from_settings(checked(settings))
    return state


@contextmanager
def impatient(state: State, seconds: float) -> Iterator[None]:
    """Calls of a store that is connected have so much time."""
    state.store.timeout, before = seconds, state.store.timeout
    try:
        yield
    finally:
        state.store.timeout = before


def limit(state: State, seconds: float) -> None:
    """Have the database give up statements of the only connection of a store after this time.

    :raises AssertionError: unless it was told to do so before the store itself does.
    """
    dialect: Any = state.store._dialect  # type: ignore[attr-defined]
    milliseconds = round(seconds * 1000)
    asks, tells = {
        "PostgreSQL": (
            "SELECT setting::float / 1000 FROM pg_settings "
            "WHERE name IN ('lock_timeout', 'statement_timeout')",
            [f"SET lock_timeout = {milliseconds}"],
        ),
        "MySQL": (
            "SELECT @@max_statement_time",
            [f"SET max_statement_time = {seconds}"],
        ),
        "SQLite": (
            "SELECT timeout / 1000.0 FROM pragma_busy_timeout",
            [f"PRAGMA busy_timeout = {milliseconds}"],
        ),
    }[type(dialect).__name__]
    with state.store._opened.value.connection() as connection:  # type: ignore[attr-defined]
        for (found,) in connection.execute(asks, (), rows):
            assert 0 < found <= state.store.timeout
        for statement in tells:
            connection.execute(statement, (), lambda cursor: None)


@contextmanager
def client_of(url: str) -> Iterator[Execute]:
    """Executes statements on a connection of the driver's own."""
    kind = make_url(url).get_backend_name()
    if kind == "sqlite":
        with closing(sqlite3.connect(make_url(url).database, isolation_level=None)) as client:
            yield lambda *statement: client.execute(*statement).fetchall()
    else:
        connect = postgresql_client if kind == "postgresql" else mariadb_client
        with connect(url) as client, client.cursor() as cursor:

            def execute(*statement: Any) -> list[Any]:
                cursor.execute(*statement)
                return list(cursor.fetchall()) if cursor.description else []

            yield execute


@pytest.fixture(params=["sqlite_url", "empty_postgresql", "empty_mariadb"])
def url(request: pytest.FixtureRequest) -> str:
    """Each kind of database, without records."""
    return request.getfixturevalue(request.param)


@pytest.fixture(params=["empty_postgresql", "empty_mariadb"])
def server_url(request: pytest.FixtureRequest) -> str:
    """Each server, without records."""
    return request.getfixturevalue(request.param)


@pytest.fixture
def state(url: str) -> Iterator[State]:
    state = state_at(url)
    yield state
    state.close()


class TestTable:
    @pytest.mark.slow
    def test_many_makers(self, url: str) -> None:
        """Of many processes that find no table one makes it, and the others go on."""
        with client_of(url) as execute:
            execute(f"DROP TABLE IF EXISTS {TABLE}")
        outcome = crowd.run("forked", partial(state_at, url), _inc_once, 5, _get)
        assert exactly_one_to([answer.result for answer in outcome.answers], 5)
        assert outcome.found == 5

    @pytest.mark.slow
    def test_may_not_make_it(self, server_url: str) -> None:
        """A user who may make no table gets the statements for it, and can use what they make."""
        plain = make_url(server_url).set(username="plain", password="secret")
        plain_url = plain.render_as_string(hide_password=False)
        with client_of(server_url) as execute:
            execute(f"DROP TABLE IF EXISTS {TABLE}")
            if plain.get_backend_name() == "postgresql":
                execute("CREATE USER plain PASSWORD 'secret'")
            else:
                execute("CREATE USER plain IDENTIFIED BY 'secret'")
                execute("GRANT SELECT, INSERT, UPDATE, DELETE ON shared.* TO plain")
            state = state_at(plain_url)
            try:
                with pytest.raises(ConfigurationError, match="CREATE TABLE") as caught:
                    state.inc("n")
                assert ddl(plain_url) in str(caught.value)
                assert "secret" not in str(caught.value)
                _make_table(execute, ddl(plain_url))
                execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {TABLE} TO plain")
                assert state.inc("n") == 1
            finally:
                state.close()
                if plain.get_backend_name() == "postgresql":
                    execute("DROP OWNED BY plain")
                execute("DROP USER plain")

    @pytest.mark.slow
    def test_ddl(self, url: str) -> None:
        """The printed statements make the table that the store uses, in a schema where asked."""
        with client_of(url) as execute:
            execute(f"DROP TABLE IF EXISTS {TABLE}")
            _make_table(execute, ddl(url))
            state = state_at(url)
            assert state.inc("n") == 1
            state.close()
            assert len(execute(f"SELECT * FROM {TABLE}")) == 1
        assert "other" in ddl(url, "other.state")

    def test_names(self, url: str) -> None:
        """`CACHE_DATABASE_TABLE` names the table, also by a word that SQL uses."""
        state = state_at(url, CACHE_DATABASE_TABLE="order")
        assert state.inc("n") == 1
        state.clear()
        state.close()
        for wrong in ("", 'a"b', "a b", "a;b", "a.b.c", "1a", "x" * 42):
            with pytest.raises(ConfigurationError, match="CACHE_DATABASE_TABLE"):
                state_at(url, CACHE_DATABASE_TABLE=wrong or " ")

    def test_another_kind_of_table(self, url: str) -> None:
        """A table with other columns is left as it is, and the error says so."""
        with client_of(url) as execute:
            execute("DROP TABLE IF EXISTS foreigner")
            execute("CREATE TABLE foreigner (id INTEGER)")
            state = state_at(url, CACHE_DATABASE_TABLE="foreigner")
            for operation in (lambda: state.inc("n"), lambda: state.get("n"), state.clear):
                with pytest.raises(ConfigurationError, match="another kind"):
                    operation()
            state.close()
            execute("DROP TABLE foreigner")

    def test_numbers_are_numbers(self, url: str, state: State) -> None:
        """What we count, SQL shows as a number and can count on, and the other way round."""
        state.inc("n", 41)
        state.set("text", "41 ")
        with client_of(url) as execute:
            mark = "?" if url.startswith("sqlite") else "%s"
            assert execute(f"SELECT number FROM {TABLE} WHERE number IS NOT NULL") == [(41,)]
            execute(f"UPDATE {TABLE} SET number = number + 1 WHERE name = {mark}", (b"test:n",))
        assert state.get("n") == 42
        assert state.inc("n") == 43


def _make_table(execute: Execute, statements: str) -> None:
    for statement in filter(str.strip, statements.split(";\n")):
        execute(statement)


def _inc_once(state: State, me: int) -> Generator[Any, Any, None]:
    yield partial(state.inc, "n")


def _get(state: State) -> Any:
    return state.get("n")


class TestExpiry:
    def test_collected(self, url: str) -> None:
        """Records that have expired leave the table as others are written, the rest stay."""
        state = state_at(url)
        clock = FakeClock(state.store, {})
        state.set_many({str(i): i for i in range(100)}, timeout=10)
        state.set_many({"later": 1}, timeout=1000)
        state.set("ever", 1)
        clock.advance(11)
        for _ in range(100):
            state.inc("n")
        with client_of(url) as execute:
            assert execute(f"SELECT COUNT(*) FROM {TABLE}") == [(3,)]
        assert sorted(state.keys()) == ["ever", "later", "n"]
        state.close()

    def test_one_that_is_renewed(self, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """A record that was found expired and is written before it is removed stays."""
        state, other = state_at(url), state_at(url)
        clocks = [FakeClock(each.store, {}) for each in (state, other)]
        state.set("a", 1, timeout=10)
        for clock in clocks:
            clock.advance(11)
        dialect: Any = state.store._dialect  # type: ignore[attr-defined]
        among = dialect.among

        def renew_first(names: Any) -> Any:
            monkeypatch.undo()
            other.set("a", 2, timeout=1000)
            return among(names)

        monkeypatch.setattr(dialect, "among", renew_first)
        state.store._writes = -1  # type: ignore[attr-defined]  # The next write collects.
        state.set("b", 1)
        assert dialect.among == among
        assert state.get("a") == 2
        state.close()
        other.close()

    def test_one_in_use(self, server_url: str) -> None:
        """An expired row that somebody has locked holds no write up."""
        state = state_at(server_url)
        clock = FakeClock(state.store, {})
        state.inc("n")
        state.set("old", 1, timeout=10)
        clock.advance(11)
        with client_of(server_url) as execute:
            execute("BEGIN")
            execute(f"SELECT * FROM {TABLE} WHERE name = %s FOR UPDATE", (b"test:old",))
            began = time.monotonic()
            for _ in range(70):
                state.inc("n")
            assert time.monotonic() - began < state.store.timeout
            execute("ROLLBACK")
        state.close()


KEYS = [f"k{i}" for i in range(8)]
ROUNDS = 15


def _inc_all(state: State, me: int) -> Generator[Any, Any, None]:
    keys = KEYS if me % 2 else KEYS[::-1]
    for _ in range(ROUNDS):
        yield partial(state.inc_many, dict.fromkeys(keys, 1))


def _each_of(state: State, keys: list[str], delta: int = 1, minimum: int = 0) -> Any:
    """Increments of several callers in one step."""
    increment = Increment(delta, 0, 0, minimum)
    each = Each([((place,), increment) for place in range(len(keys))])
    numbers = state.store.transact([state.keyspace.key(key) for key in keys], each)
    return dict(zip(keys, numbers, strict=True))


def _inc_each(state: State, me: int) -> Iterator[Callable[[], Any]]:
    keys = KEYS if me % 2 else KEYS[::-1]
    for _ in range(ROUNDS):
        yield partial(_each_of, state, keys)


@pytest.mark.slow
@pytest.mark.parametrize("exist", [False, True], ids=["missing", "existing"])
@pytest.mark.parametrize("work", [_inc_all, _inc_each], ids=["batch", "each"])
def test_batches_in_opposite_orders(server_url: str, exist: bool, work: Any) -> None:
    """Batches of the same keys in opposite orders are exact, and those of existing ones orderly."""
    if exist:
        state = state_at(server_url)
        state.set_many(dict.fromkeys(KEYS, 0))
        state.close()
    before = _deadlocks(server_url)
    outcome = crowd.run("forked", partial(state_at, server_url), work, 6, _get_all)
    for key in KEYS:
        assert exactly_one_to([call.result[key] for call in outcome.answers], 6 * ROUNDS)
    assert outcome.found == [6 * ROUNDS] * len(KEYS)
    if exist:
        assert _deadlocks(server_url) == before


def _get_all(state: State) -> list[Any]:
    return state.get_many(*KEYS)


def _deadlocks(url: str) -> Any:
    with client_of(url) as execute:
        if url.startswith("postgresql"):
            return execute("SELECT SUM(deadlocks) FROM pg_stat_database")
        return execute("SHOW GLOBAL STATUS LIKE 'Innodb_deadlocks'")


class TestMissingRows:
    """A client that waits for one row learns what was inserted meanwhile beside it."""

    @pytest.mark.parametrize("kind", ["once", "batch", "each"])
    def test_inserted_while_waiting(self, server_url: str, kind: str) -> None:
        """Neither a repeat near a bound nor a batch decides by a row that it saw as missing."""
        state = state_at(server_url)
        # "!" comes before the counter in the table's order, as tokens do.
        call = {
            "once": lambda: state.inc("n", maximum=1, once="token"),
            "batch": lambda: state.inc_many({"!": -1, "n": -1}, minimum=0),
            "each": lambda: _each_of(state, ["!", "n"], -1),
        }[kind]
        if kind == "once":
            call()
        else:
            state.set_many({"!": 5, "n": 5})
        answers: list[Any] = []
        with client_of(server_url) as execute:
            after = execute(f"SELECT name, value, number, expires FROM {TABLE}")
            fresh = next(row for row in after if row[0] != b"test:n")
            number = next(row[2] for row in after if row[0] == b"test:n")
            execute(f"DELETE FROM {TABLE} WHERE name = %s", (fresh[0],))
            execute(f"UPDATE {TABLE} SET number = 0 WHERE name = %s", (b"test:n",))
            execute("BEGIN")
            execute(f"UPDATE {TABLE} SET number = %s WHERE name = %s", (number, b"test:n"))
            waiter = threading.Thread(target=lambda: answers.append(_answer_of(call)))
            waiter.start()
            _until_one_waits(server_url)
            execute(
                f"INSERT INTO {TABLE} (name, value, number, expires) VALUES (%s, %s, %s, %s)", fresh
            )
            execute("COMMIT")
            waiter.join(SECONDS)
        assert answers == [1 if kind == "once" else {"!": 4, "n": 4}]
        state.close()

    def test_two_that_depend_on_a_missing_row(self, server_url: str) -> None:
        """Of two transactions that each write if the other's row is missing, one writes."""
        states = [state_at(server_url) for _ in "ab"]
        states[0].get("a")  # Makes the table.
        second = WriteIfAlone(1, lambda: None)
        first = WriteIfAlone(0, lambda: states[1].store.transact((b"a", b"b"), second))
        assert not states[0].store.transact((b"a", b"b"), first)
        assert states[0].store.values((b"a", b"b")) == [None, b"1"]
        for state in states:
            state.store.clear(b"")
            state.close()

    @pytest.mark.slow
    def test_parallel_repeats_at_a_bound(self, server_url: str) -> None:
        """Of parallel calls with one token at a bound each returns what the first one did."""
        outcome = crowd.run("forked", partial(state_at, server_url), _repeat, 6, _get)
        assert outcome.found == TOKENS
        for token in range(TOKENS):
            same = {a.result[1] for a in outcome.answers if a.result[0] == token}
            assert len(same) == 1
        assert {answer.result[1] for answer in outcome.answers} == set(range(1, TOKENS + 1))


class WriteIfAlone(Operation):
    """Writes one of two records if the other is missing; returns whether it did.

    :param meanwhile: what happens between the first look and the write.
    """

    __slots__ = ("meanwhile", "position")

    def __init__(self, position: int, meanwhile: Callable[[], Any]) -> None:
        self.position = position
        self.meanwhile = meanwhile

    def __call__(self, records: Any, now: float) -> Any:
        meanwhile, self.meanwhile = self.meanwhile, lambda: None
        meanwhile()
        if any(records):
            return records, False
        after: list[Any] = [None, None]
        after[self.position] = (b"1", NEVER)
        return after, True


TOKENS = 15


def _repeat(state: State, me: int) -> Generator[Any, Any, None]:
    for token in range(TOKENS):
        yield crowd.GATE
        yield partial(_inc_by_token, state, token)


def _inc_by_token(state: State, token: int) -> tuple[int, Any]:
    return token, _answer_of(lambda: state.inc("n", maximum=token + 1, once=str(token)))


def _answer_of(call: Callable[[], Any]) -> Any:
    try:
        return call()
    except SharedStateError as error:
        return repr(error)


def _until_one_waits(url: str) -> None:
    """Returns when a client of the server waits for a lock.

    InnoDB's own list of transactions would do for a single look: it is not renewed while it is
    read more often than every 0.1 s.
    """
    question = "SHOW GLOBAL STATUS LIKE 'Innodb_row_lock_current_waits'"
    if url.startswith("postgresql"):
        question = "SELECT 'waits', COUNT(*) FROM pg_locks WHERE NOT granted"
    with client_of(url) as execute:
        _until(lambda: int(execute(question)[0][1]) > 0)


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


WRITES: dict[str, Callable[[State], Any]] = {
    "set": lambda s: s.set("n", 2),
    "inc": lambda s: s.inc("n"),
    "once": lambda s: s.inc("n", once="token"),
    "batch": lambda s: s.inc_many({"n": 1, "m": 1}),
}


class TestTime:
    @pytest.mark.slow
    @pytest.mark.parametrize("name", WRITES)
    def test_a_row_that_others_hold(self, server_url: str, name: str) -> None:
        """A write of a row that is locked gives up in time, has done nothing, and says so."""
        state = state_at(server_url)
        state.set("n", 1)
        limit(state, 0.1)
        with client_of(server_url) as execute:
            execute("BEGIN")
            execute(f"SELECT * FROM {TABLE} FOR UPDATE")
            with pytest.raises(StoreUnavailable) as caught:
                WRITES[name](state)
            assert not caught.value.outcome_unknown
            assert state.get("n") == 1  # Readers do not wait.
            execute("ROLLBACK")
        assert state.get("n") == 1
        WRITES[name](state)
        assert state.get("n") == 2
        state.close()

    def test_sqlite_that_others_hold(self, sqlite_url: str) -> None:
        """A file in which somebody else writes is an error in time, and can still be read."""
        state = state_at(sqlite_url)
        state.set("n", 1)
        limit(state, 0.1)
        with client_of(sqlite_url) as execute:
            execute("BEGIN IMMEDIATE")
            for write in WRITES.values():
                with pytest.raises(StoreUnavailable) as caught:
                    write(state)
                assert not caught.value.outcome_unknown
            assert state.get("n") == 1
            execute("ROLLBACK")
        assert state.inc("n") == 2
        state.close()

    def test_a_server_that_accepts_and_hangs(self, server_url: str) -> None:
        """A server that never says a word is an error in bounded time, with a known outcome."""
        with closing(socket.create_server(("127.0.0.1", 0))) as listener:
            port = listener.getsockname()[1]
            silent = make_url(server_url).set(port=port).render_as_string(hide_password=False)
            state = state_at(silent, CACHE_TIMEOUT=0.2)
            with pytest.raises(StoreUnavailable) as caught:
                state.inc("n")
            assert not caught.value.outcome_unknown
            state.close()

    @pytest.mark.slow
    def test_one_deadline_for_several_hosts(
        self, empty_postgresql: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Hosts that hang take a share of the call's time, and what comes after has the rest."""
        real = make_url(empty_postgresql)
        with ExitStack() as stack:
            hosts = [
                f"127.0.0.1:{stack.enter_context(_silent()).getsockname()[1]}" for _ in range(3)
            ]
            state = state_at(_several(real, hosts), CACHE_TIMEOUT=0.3)
            with pytest.raises(StoreUnavailable, match=hosts[2]) as caught:
                state.inc("n")
            assert not caught.value.outcome_unknown
            state.close()
            limits: list[float] = []
            limited = postgresql_dialect._limited

            def recorded(waits: Any, seconds: float) -> Any:
                limits.append(seconds)
                return limited(waits, seconds)

            monkeypatch.setattr(postgresql_dialect, "_limited", recorded)
            state = state_at(_several(real, [*hosts[:1], f"{real.host}:{real.port}"]))
            with impatient(state, 2):
                _patiently(lambda: state.get("n"))
            # The first host had half of the time, and what is sent afterwards has what is left.
            assert limits[0] <= 1
            del limits[:]
            state.get("n")
            assert limits[0] > 1
            state.close()

    def test_late_before_the_commit(self, server_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """Where the time is over before the commit, nothing is applied, and the error says so."""
        state = state_at(server_url)
        state.set("n", 1)
        monkeypatch.setattr(database_engine, "left", lambda seconds: 0.0)
        with pytest.raises(StoreUnavailable, match="before the commit") as caught:
            state.inc("n", once="token")
        assert not caught.value.outcome_unknown
        monkeypatch.undo()
        assert state.inc("n", once="token") == 2
        state.close()


def _silent() -> Any:
    """A socket at which connections are made, and nothing is ever said."""
    return closing(socket.create_server(("127.0.0.1", 0)))


def _several(url: Any, hosts: list[str]) -> str:
    """The URL with these hosts, as SQLAlchemy writes them."""
    several = url.set(host=None, port=None).update_query_pairs([("host", h) for h in hosts])
    return several.render_as_string(hide_password=False)


def test_down() -> None:
    """Where nobody listens the outcome is known, and the password is not shown."""
    for scheme in ("postgresql+psycopg", "mariadb+pymysql"):
        url = f"{scheme}://user:secret@127.0.0.1:1/name?application_name=secret"
        state = state_at(url.partition("?")[0] if "mariadb" in url else url)
        with pytest.raises(StoreUnavailable) as caught:
            state.inc("n")
        assert not caught.value.outcome_unknown
        assert "secret" not in f"{caught.value}{state.store.describe()}"
        assert "127.0.0.1:1" in f"{caught.value}"
        state.close()


def test_wrong_password(mariadb_url: str) -> None:
    """A server that does not let us in is an error that says so without the password."""
    wrong = make_url(mariadb_url).set(password="secret").render_as_string(hide_password=False)
    state = state_at(wrong)
    with pytest.raises(StoreUnavailable, match="(?i)denied") as caught:
        state.inc("n")
    assert "secret" not in str(caught.value)
    state.close()


@contextmanager
def proxy(url: str, word: bytes) -> Iterator[tuple[str, threading.Event, list[bytes]]]:
    """The URL of a way to the server that ends when ``word`` has passed to it, unanswered.

    It does so once the event is set; the list is of what it ended with.
    """
    address = make_url(url)
    armed, seen = threading.Event(), []

    def pass_on(source: socket.socket, sink: socket.socket, is_client: bool) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                if is_client and word in data and armed.is_set():
                    seen.append(data)
                    sink.sendall(data)
                    sink.shutdown(socket.SHUT_WR)
                    source.shutdown(socket.SHUT_RDWR)
                    return
                if not seen:
                    sink.sendall(data)
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def serve(client: socket.socket) -> None:
        with client, socket.create_connection((address.host, address.port)) as server:
            back = threading.Thread(target=pass_on, args=(server, client, False))
            back.start()
            pass_on(client, server, True)
            back.join(SECONDS)

    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        threads = []

        def accept() -> None:
            while True:
                try:
                    client, _ = listener.accept()
                except OSError:
                    return
                threads.append(threading.Thread(target=serve, args=(client,)))
                threads[-1].start()

        accepting = threading.Thread(target=accept)
        accepting.start()
        port = listener.getsockname()[1]
        try:
            yield address.set(port=port).render_as_string(hide_password=False), armed, seen
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            accepting.join(SECONDS)
            for thread in threads:
                thread.join(SECONDS)


LOST = {
    "single": (b"+ ", lambda s: s.inc("n"), True),
    "commit": (b"COMMIT", lambda s: s.inc("n", once="token"), True),
    "before": (b"FOR UPDATE", lambda s: s.inc("n", once="token"), False),
    "commit of each": (b"COMMIT", lambda s: _each_of(s, ["m", "n"]), True),
    "before each": (b"FOR UPDATE", lambda s: _each_of(s, ["m", "n"]), False),
}


@pytest.mark.parametrize("name", LOST)
def test_a_lost_answer(server_url: str, name: str) -> None:
    """A write whose answer is lost is sent once; its outcome is unknown from the commit on."""
    word, write, unknown = LOST[name]
    direct = state_at(server_url)
    direct.set("n", 1)
    with proxy(server_url, word) as (url, armed, seen):
        state = state_at(url)
        state.get("n")
        armed.set()
        with pytest.raises(StoreUnavailable) as caught:
            write(state)
        assert caught.value.outcome_unknown is unknown
        assert len(seen) == 1
        state.close()
    deadline = time.monotonic() + SECONDS
    while direct.get("n") != 1 + unknown and time.monotonic() < deadline:
        time.sleep(0.01)
    assert direct.get("n") == 1 + unknown
    direct.close()


@pytest.mark.slow
@pytest.mark.parametrize("run", [postgresql, mariadb])
def test_stopped_killed_and_restarted(run: Any) -> None:
    """A server's death is noticed before something is sent; one that hangs is an error in time."""
    with reserved_port() as port, server_directory() as directory:
        url = f"postgresql://postgres@127.0.0.1:{port}/postgres"
        if run is mariadb:
            url = f"mysql://root@127.0.0.1:{port}/mysql"
        state = state_at(url)
        with run(port, directory) as server:
            assert state.inc("n") == 1
            with _stopped(server.pid), impatient(state, 0.3), _sooner(state, 0.3):
                with pytest.raises(StoreUnavailable) as caught:
                    state.inc("n")
                assert caught.value.outcome_unknown
            number = state.inc("n")
            assert number in (2, 3)  # The one that hung may have been applied.
            threads = [threading.Thread(target=state.get, args=("n",)) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        with run(port, directory):
            # All connections are stale, and no write finds out by being lost.
            assert state.get("n") == number
            assert state.inc("n") == number + 1
        with pytest.raises(StoreUnavailable) as caught:
            state.inc("n")
        assert not caught.value.outcome_unknown
        state.close()


@contextmanager
def _sooner(state: State, seconds: float) -> Iterator[None]:
    """PyMySQL waits so long for a reply on the connection that the store has."""
    with state.store._opened.value.connection() as connection:  # type: ignore[attr-defined]
        driver = connection._connection.dbapi_connection
    before = getattr(driver, "_read_timeout", None)
    if before:
        driver._read_timeout = seconds
    try:
        yield
    finally:
        if before:
            driver._read_timeout = before


@contextmanager
def _stopped(leader: int) -> Iterator[None]:
    """A server stands still with all its processes, as one whose machine swaps or is overloaded."""
    children = Path(f"/proc/{leader}/task/{leader}/children").read_text().split()
    processes = [leader, *map(int, children)]
    try:
        for process in processes:
            with suppress(FileNotFoundError, ProcessLookupError):
                os.kill(process, signal.SIGSTOP)
                while not _has_stopped(process):
                    time.sleep(0.001)
        yield
    finally:
        for process in processes:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGCONT)


def _has_stopped(pid: int) -> bool:
    threads = Path(f"/proc/{pid}/task").glob("*/stat")
    return all(") T " in thread.read_text() for thread in threads)


def _patiently(operation: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + SECONDS
    while True:
        try:
            return operation()
        except StoreUnavailable:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_a_connection_that_was_ended(server_url: str) -> None:
    """A connection that the server has ended is noticed before something is sent on it."""
    state = state_at(server_url)
    state.set("n", 1)
    ours = "FROM pg_stat_activity WHERE application_name = 'sharedstate'"
    end = f"SELECT pg_terminate_backend(pid) {ours}"
    if server_url.startswith("maria"):
        ours = "FROM information_schema.processlist WHERE id != CONNECTION_ID() AND user = 'root'"
    with client_of(server_url) as execute:
        if server_url.startswith("maria"):
            for (number,) in execute(f"SELECT id {ours}"):
                with suppress(pymysql.Error):  # One of a test before may just be ending.
                    execute(f"KILL {number}")
        else:
            execute(end)
        _until(lambda: execute(f"SELECT COUNT(*) {ours}") == [(0,)])
    assert state.inc("n") == 2
    state.close()


def test_isolation(server_url: str) -> None:
    """Whatever the server's default is, each statement sees what is committed when it begins."""
    is_mariadb = server_url.startswith("maria")
    setting = "tx_isolation" if is_mariadb else "default_transaction_isolation"
    whose = "SET GLOBAL" if is_mariadb else "ALTER DATABASE postgres SET"
    with client_of(server_url) as execute:
        execute(f"{whose} {setting} = 'SERIALIZABLE'")
        try:
            state = state_at(server_url)
            state.inc("n")
            database = state.store._opened.value  # type: ignore[attr-defined]
            (found,) = database.read(f"SELECT @@{setting}" if is_mariadb else f"SHOW {setting}")
            assert found[0].lower().replace("-", " ") == "read committed"
            state.close()
        finally:
            execute(f"{whose} {setting} = 'READ{'-' if is_mariadb else ' '}COMMITTED'")


def test_read_only(empty_postgresql: str) -> None:
    """A server that became a replica refuses writes, and is connected to anew each time."""
    state = state_at(empty_postgresql)
    state.inc("n")
    state.close()
    with client_of(empty_postgresql) as execute:
        execute("ALTER DATABASE postgres SET default_transaction_read_only = on")
        try:
            with pytest.raises(StoreUnavailable, match="read-only") as caught:
                state.inc("n")
            assert not caught.value.outcome_unknown
        finally:
            execute("SET default_transaction_read_only = off")
            execute("ALTER DATABASE postgres RESET default_transaction_read_only")
    assert state.inc("n") == 2
    state.close()


def test_a_value_that_is_too_large_for_the_server(empty_mariadb: str) -> None:
    """What MariaDB would hang up on is not sent, and the store goes on."""
    state = state_at(empty_mariadb, CACHE_MAX_VALUE_BYTES=1 << 30)
    with pytest.raises(ValueTooLarge, match="max_allowed_packet"):
        state.set("a", "x" * (20 << 20))
    assert state.inc("n") == 1
    state.close()


FAILURES = [
    (psycopg.errors.DiskFull, StoreFull),
    (psycopg.errors.TooManyConnections, StoreUnavailable),
    (psycopg.errors.DeadlockDetected, Conflict),
    (psycopg.errors.SerializationFailure, Conflict),
    (psycopg.errors.UndefinedTable, NoTable),
    (psycopg.errors.InsufficientPrivilege, ConfigurationError),
    (psycopg.errors.SyntaxError, StoreUnavailable),
    (partial(pymysql.err.OperationalError, 1021), StoreFull),
    (partial(pymysql.err.OperationalError, 1114), StoreFull),
    (partial(pymysql.err.OperationalError, 1213), Conflict),
    (partial(pymysql.err.OperationalError, 1205), StoreUnavailable),
    (partial(pymysql.err.ProgrammingError, 1146), NoTable),
    (partial(pymysql.err.OperationalError, 2013), StoreUnavailable),
    (pymysql.err.InterfaceError, StoreUnavailable),
]


@pytest.mark.parametrize(("make", "expected"), FAILURES, ids=str)
def test_errors(make: Callable[[str], Exception], expected: type[Exception]) -> None:
    """Each error of a driver is one of the library's, or a reason to try again."""
    error = make("why")
    is_postgresql = isinstance(error, psycopg.Error)
    store = DatabaseStore("postgresql://h/d" if is_postgresql else "mysql://h/d")
    database = Database(store._url, store._dialect, {})
    assert type(database.explained(error)) is expected


def test_a_full_file(sqlite_url: str) -> None:
    """An SQLite file that cannot grow refuses the write, and keeps what it has."""
    store = DatabaseStore(sqlite_url)
    prepare = store._dialect.prepare

    def confine(connection: Any) -> None:
        prepare(connection)
        connection.execute("PRAGMA max_page_count = 20").close()

    store._dialect.prepare = confine  # type: ignore[method-assign]
    state = State(store)
    state.inc("n")
    with pytest.raises(StoreFull):
        state.set("big", "x" * 200_000)
    assert state.inc("n") == 2
    state.close()


class TestURL:
    @pytest.mark.parametrize(
        "url",
        [
            *("postgresql+psycopg2://h/d", "mysql+mysqldb://h/d", "oracle://h/d"),
            *("sqlite://", "sqlite:///:memory:", "://secret@", "secret"),
        ],
    )
    def test_wrong(self, url: str) -> None:
        """A URL that the store cannot use is an error that names the setting, not its secret."""
        with pytest.raises(ConfigurationError, match="CACHE_DATABASE_URL") as caught:
            state_at(url)
        assert "secret" not in str(caught.value)

    def test_none(self) -> None:
        """Without a URL the error says what to set."""
        with pytest.raises(ConfigurationError, match="CACHE_DATABASE_URL"):
            open_store({"CACHE_TYPE": "database"})

    @pytest.mark.parametrize("scheme", ["postgresql", "mysql", "mariadb"])
    def test_the_driver_may_be_left_out(self, scheme: str) -> None:
        """The store knows which driver it needs, and the location has neither user nor password."""
        store = open_store({"CACHE_URL": f"{scheme}://user:secret@host/name?x=secret"})
        driver = "psycopg" if scheme == "postgresql" else "pymysql"
        assert store.describe()["location"] == f"{scheme}+{driver}://host/name"
        assert store.scope == "network"
        assert open_store({"CACHE_URL": "sqlite:////state.db"}).scope == "host"

    def test_options(self, sqlite_url: str) -> None:
        """`CACHE_OPTIONS` are those of SQLAlchemy's engine; a wrong one is a clear error."""
        state = state_at(sqlite_url, CACHE_OPTIONS={"pool_size": 1, "connect_args": {"timeout": 1}})
        assert state.inc("n") == 1
        state.close()
        with pytest.raises(ConfigurationError, match="CACHE_OPTIONS.*nonsense"):
            state_at(sqlite_url, CACHE_OPTIONS={"nonsense": 1}).inc("n")


class TestFairSemaphore:
    def test_in_order(self) -> None:
        """Whoever waits is served before whoever comes later, also before the one that leaves."""
        semaphore, order = FairSemaphore(1), []
        assert semaphore.acquire(0)

        def visit(me: int) -> None:
            assert semaphore.acquire(SECONDS)
            order.append(me)
            semaphore.release()

        threads = [threading.Thread(target=visit, args=(me,)) for me in range(5)]
        for waiting, thread in enumerate(threads):
            thread.start()
            while len(semaphore._waiters) <= waiting:
                time.sleep(0)
        semaphore.release()
        visit(5)
        for thread in threads:
            thread.join()
        assert order == list(range(6))

    def test_too_late(self) -> None:
        """Whoever waited in vain does not hold it afterwards."""
        semaphore = FairSemaphore(1)
        assert semaphore.acquire(0)
        assert not semaphore.acquire(0.01)
        semaphore.release()
        assert semaphore.acquire(0)

    def test_more_threads_than_connections(self, url: str) -> None:
        """Threads that find all connections in use wait their turn, and give up in time."""
        state = state_at(url, CACHE_OPTIONS={"pool_size": 1})
        assert state.inc("n") == 1
        database = state.store._opened.value  # type: ignore[attr-defined]
        with database.connection():
            with impatient(state, 0.1), pytest.raises(StoreUnavailable, match="in use"):
                state.inc("n")
        assert state.inc("n") == 2
        state.close()


def test_an_interrupted_statement_costs_its_connection(empty_postgresql: str) -> None:
    """What a caller's own exception breaks off is hung up on: the next answer is the next one's."""

    class Interruption(BaseException):
        pass

    def interrupt(number: int, frame: Any) -> None:
        raise Interruption

    def send() -> None:
        _until_one_waits(empty_postgresql)
        signal.pthread_kill(main, signal.SIGALRM)

    main = threading.main_thread().ident
    assert main is not None and threading.get_ident() == main
    state = state_at(empty_postgresql)
    state.inc("n")
    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        with client_of(empty_postgresql) as execute:
            execute("BEGIN")
            execute(f"SELECT * FROM {TABLE} FOR UPDATE")
            sender = threading.Thread(target=send)
            sender.start()
            with pytest.raises((Interruption, SharedStateError)):
                state.inc("n")
            sender.join(SECONDS)
            execute("ROLLBACK")
    finally:
        signal.signal(signal.SIGALRM, before)
    assert state.get("n") in (1, 2)
    assert state.inc("other") == 1
    state.close()
