"""``database``: the records in a table of PostgreSQL, MariaDB, MySQL or SQLite."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

from ...errors import ConfigurationError, Overloaded
from ...settings import Settings
from ..base import DEFAULT_TIMEOUT, Page, Store, key_range
from ..operations import Operation, Record
from ..support.gate import Gate
from ..support.opened import Opened
from ..support.paging import ordered_page
from ..support.pauses import pauses
from .deadline import until
from .dialects.base import dialect_of, parsed
from .dialects.hosts import has_several
from .engine import Database
from .errors import Conflict, NoTable, location
from .operations import MISS, STATEMENTS, collect, page_rows, read, sizes, transaction

R = TypeVar("R")

DEFAULT_TABLE = "sharedstate"

_COLLECT_EVERY = 32
_CLEAR_ROWS = 1000

_FIRST = "SELECT name FROM {table} WHERE name >= ? AND name < ? ORDER BY name LIMIT ?"
_CLEAR = "DELETE FROM {table} WHERE name >= ? AND name < ?"
_PING = "SELECT name FROM {table} WHERE 1 = 0"


def ddl(url: str, table: str = DEFAULT_TABLE) -> str:
    """The statements that make the table, for a user who may not: run them once as one who may."""
    return dialect_of(parsed(url), table, DEFAULT_TIMEOUT, "normal").ddl


class DatabaseStore(Store):
    """A row a record, read and written with SQLAlchemy's connections.

    The common operations are one statement, and so one round trip; the others are a transaction
    that locks its rows in the order of their keys, four round trips. Those that wait together are
    done in one: 32 clients of the service got 2.7 times as many increments of one key from
    PostgreSQL, and eight threads as many as without. Time is this host's: hosts that share a table
    need their clocks in step, as by NTP.

    :param url: as SQLAlchemy's, with one of the drivers ``psycopg`` and ``pymysql``.
    :param table: its name, with its schema or without; made when it is missing.
    :param durability: of SQLite only; a server has its own.
    :param engine_options: for SQLAlchemy's ``create_engine``.
    """

    name = "database"
    combines = True

    def __init__(
        self,
        url: str,
        *,
        table: str = DEFAULT_TABLE,
        durability: str = "normal",
        engine_options: dict[str, Any] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self._url = parsed(url)
        self._dialect = dialect_of(self._url, table, self.timeout, durability)
        self.scope = self._dialect.scope
        self.has_server = self._dialect.scope == "network"
        self._engine_options = engine_options or {}
        self._opened: Opened[Database] = Opened()
        self._gate = Gate()
        self._writes = -1  # The first write of a process collects what others left.

    @classmethod
    def from_settings(cls, settings: Settings) -> DatabaseStore:
        url = settings["CACHE_DATABASE_URL"]
        if not url:
            raise ConfigurationError(
                "the database store needs an address: set CACHE_DATABASE_URL, as in "
                "postgresql+psycopg://user:password@host/database"
            )
        return cls(
            url,
            table=settings["CACHE_DATABASE_TABLE"],
            durability=settings["CACHE_DURABILITY"],
            engine_options=dict(settings["CACHE_OPTIONS"]),
            timeout=settings["CACHE_TIMEOUT"],
        )

    def transact(self, keys: Sequence[bytes], operation: Operation) -> Any:
        if not operation.writes:
            return operation(self.read(keys), self.clock())[1]
        deadline = time.monotonic() + self.timeout
        self._writes += 1
        if self._writes % _COLLECT_EVERY == 0:
            self._until_done(lambda database: collect(database, self.clock()), deadline)
        statement = STATEMENTS.get(type(operation))
        if statement is not None:
            result = self._until_done(
                lambda database: statement(database, keys[0], operation, self.clock()), deadline
            )
            if result is not MISS:
                return result
        return self._until_done(
            lambda database: transaction(database, keys, operation, self.clock), deadline
        )

    def read(self, keys: Sequence[bytes]) -> list[Record | None]:
        return self._until_done(lambda database: read(database, keys, self.clock))

    def sizes(self, keys: Sequence[bytes]) -> list[int]:
        return self._until_done(lambda database: sizes(database, keys, self.clock()))

    def page(self, prefix: bytes, cursor: str | None, limit: int) -> Page:
        def fetch(*bounds: Any) -> Any:
            return self._until_done(lambda database: page_rows(database, bounds))

        return ordered_page(fetch, prefix, cursor, limit, self.clock())

    def clear(self, prefix: bytes) -> None:
        """See :meth:`Store.clear`; more than a thousand records go in several steps."""
        first, end = key_range(prefix)
        while first < end:
            first = self._until_done(partial(_clear, first=first, end=end))

    def ping(self) -> None:
        self._until_done(lambda database: database.read(_PING))

    def describe(self) -> dict[str, Any]:
        return {"location": location(self._url), "durability": self._dialect.kept}

    def risks(self) -> list[str]:
        question = self._dialect.settings
        if question is None:
            return []
        found = self._until_done(lambda database: database.read(question))
        return self._dialect.risks(dict(found), has_several(self._url))

    def close(self) -> None:
        self._opened.close()

    def before_fork(self) -> None:
        # Those inside leave in time by themselves.
        self._is_empty = self._gate.shut(2 * self.timeout)
        if self._is_empty and self._opened.value is not None:
            self._opened.value.disconnect()

    def after_fork_in_parent(self) -> None:
        self._gate.open()

    def after_fork_in_child(self) -> None:
        self._gate = Gate()
        if not self._is_empty:
            self._opened.inherit()

    def _until_done(self, attempt: Callable[[Database], R], deadline: float | None = None) -> R:
        """What the attempt returns that meets no other client; one that does changes nothing."""
        deadline = deadline or time.monotonic() + self.timeout
        for pause in pauses(0.001):
            try:
                with self._gate, until(deadline):
                    return self._attempt(attempt)
            except Conflict as error:
                if time.monotonic() > deadline:
                    raise Overloaded(
                        f"others were in the way for {self.timeout} seconds (CACHE_TIMEOUT) in "
                        f"{location(self._url)}; nothing was applied: {error}"
                    ) from error
            time.sleep(pause)
        raise AssertionError  # pragma: no cover - the pauses never end

    def _attempt(self, attempt: Callable[[Database], R]) -> R:
        database = self._opened.value or self._open()
        try:
            return attempt(database)
        except NoTable:
            database.make_table()
            return attempt(database)

    def _open(self) -> Database:
        database = Database(self._url, self._dialect, self._engine_options)
        return self._opened.put(self, database, Database.close)


def _clear(database: Database, first: bytes, end: bytes) -> bytes:
    """Remove the first records of a range; returns where the rest of it begins."""
    found = database.read(_FIRST, (first, end, _CLEAR_ROWS))
    if len(found) == _CLEAR_ROWS:
        end = found[-1][0]
    database.write(_CLEAR, (first, end))
    return end
