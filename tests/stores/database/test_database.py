"""Addresses, errors and settings of the database store."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import psycopg
import pymysql
import pytest
from databases import (
    client_of,
    state_at,
)
from sqlalchemy import make_url

from sharedstate import ConfigurationError, StoreFull, StoreUnavailable
from sharedstate.stores.database.engine import Database
from sharedstate.stores.database.errors import Conflict, NoTable
from sharedstate.stores.database.store import DatabaseStore
from sharedstate.stores.registry import open_store


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
