"""States on databases, clients of their own, and how a state is made to wait for less."""

from __future__ import annotations

import socket
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

from database_servers import (
    mariadb_client,
    postgresql_client,
)
from sqlalchemy import make_url

from sharedstate import State, StoreUnavailable
from sharedstate.errors import SharedStateError
from sharedstate.settings import checked
from sharedstate.stores.database.fetch import rows
from sharedstate.stores.database.store import DatabaseStore
from sharedstate.stores.operations import Each, Increment

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


def number_of(state: State) -> Any:
    return state.get("n")


def inc_each(state: State, keys: list[str], delta: int = 1, minimum: int = 0) -> Any:
    """Increments of several callers in one step."""
    increment = Increment(delta, 0, 0, minimum)
    each = Each([((place,), increment) for place in range(len(keys))])
    numbers = state.store.transact([state.keyspace.key(key) for key in keys], each)
    return dict(zip(keys, numbers, strict=True))


def result_of(call: Callable[[], Any]) -> Any:
    try:
        return call()
    except SharedStateError as error:
        return repr(error)


def until_one_waits(url: str) -> None:
    """Returns when a client of the server waits for a lock.

    InnoDB's own list of transactions would do for a single look: it is not renewed while it is
    read more often than every 0.1 s.
    """
    question = "SHOW GLOBAL STATUS LIKE 'Innodb_row_lock_current_waits'"
    if url.startswith("postgresql"):
        question = "SELECT 'waits', COUNT(*) FROM pg_locks WHERE NOT granted"
    with client_of(url) as execute:
        until(lambda: int(execute(question)[0][1]) > 0)


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def silent() -> Any:
    """A socket at which connections are made, and nothing is ever said."""
    return closing(socket.create_server(("127.0.0.1", 0)))


def several(url: Any, hosts: list[str]) -> str:
    """The URL with these hosts, as SQLAlchemy writes them."""
    several = url.set(host=None, port=None).update_query_pairs([("host", h) for h in hosts])
    return several.render_as_string(hide_password=False)


def patiently(operation: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + SECONDS
    while True:
        try:
            return operation()
        except StoreUnavailable:
            assert time.monotonic() < deadline
            time.sleep(0.05)
