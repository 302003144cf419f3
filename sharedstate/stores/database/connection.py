"""A connection of the driver's, while it is in use."""

from __future__ import annotations

import time
from collections.abc import Callable, Container, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

from ...errors import SharedStateError
from .deadline import left
from .dialects.base import Trouble
from .errors import Conflict, unavailable

if TYPE_CHECKING:
    from .engine import Database

Fetch = Callable[[Any], Any]

# A connection that was idle for longer is asked whether it still leads anywhere.
_IDLE_SECONDS = 10.0

_BROKEN = frozenset({Trouble.LOST, Trouble.READ_ONLY})
_ANY = frozenset(Trouble)


def count(cursor: Any) -> int:
    """How many rows a statement found or changed."""
    number: int = cursor.rowcount
    return number


def rows(cursor: Any) -> list[Any]:
    """All rows that a statement returns: a cursor left open leaves its lock."""
    found: list[Any] = cursor.fetchall()
    return found


class Connection:
    """A connection of the driver's; what is not committed when its ``with`` ends is rolled back."""

    __slots__ = (
        "_connection",
        "_cursor",
        "_database",
        "_has_begun",
        "_has_lock",
        "_used",
        "dialect",
        "doubtful",
    )

    def __init__(self, database: Database, connection: Any) -> None:
        self.dialect = database.dialect
        self.doubtful: Container[Trouble] = ()
        """After which troubles what is done now may have been applied."""
        self._database = database
        self._connection = connection
        # One for all: to make one costs a good part of a statement.
        self._cursor = connection.cursor()
        self._has_begun = False
        self._has_lock = False
        self._used = time.monotonic()

    def __enter__(self) -> Connection:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        doubtful, self.doubtful = self.doubtful, ()
        keep = False
        try:
            keep = self._is_clean(error) and (not self._has_begun or self._roll_back())
        finally:
            self._used = time.monotonic()
            if self._has_lock:
                self._unlock_writers()
            self._database.give_back(self, keep=keep)
        if isinstance(error, self._database.errors):
            raise self._database.explained(error, doubtful) from error

    def execute(self, statement: str, arguments: Sequence[Any] = (), fetch: Fetch = count) -> Any:
        """What ``fetch`` makes of a statement's cursor: the number of its rows by default."""
        self._cursor.execute(self.dialect.sql(statement), arguments)
        return fetch(self._cursor)

    def execute_many(self, statement: str, arguments: Sequence[Sequence[Any]]) -> int:
        """How many rows a statement changed, over all its arguments."""
        if len(arguments) <= 1:
            return sum(self.execute(statement, each) for each in arguments)
        self._cursor.executemany(self.dialect.sql(statement), arguments)
        return count(self._cursor)

    def lock_writers(self) -> None:
        """Wait for the file lock of those who write, on SQLite: its own wait starves some.

        :raises StoreUnavailable: if the lock is not free before the call's deadline.
        """
        lock, database = self._database.write_lock, self._database
        if lock is None:
            return
        try:
            self._has_lock = lock.acquire(left(self.dialect.timeout))
        except OSError as error:
            raise unavailable(database.location, str(error)) from error
        if not self._has_lock:
            raise unavailable(
                database.location, f"others were writing for {self.dialect.timeout} s"
            )

    def _unlock_writers(self) -> None:
        assert self._database.write_lock is not None
        self._has_lock = False
        self._database.write_lock.release()

    def begin(self) -> None:
        """Begin a transaction."""
        self.lock_writers()
        self.execute(self.dialect.begin)
        self._has_begun = True

    def commit(self) -> None:
        """Commit it: from here on, an error leaves open what happened."""
        if not left(self.dialect.timeout):
            raise unavailable(
                self._database.location,
                f"{self.dialect.timeout} s (CACHE_TIMEOUT) were over before the commit",
            )
        self.doubtful = _ANY
        self.execute("COMMIT")
        self._has_begun = False

    def is_usable(self) -> bool:
        """Whether it still leads to the server, as far as can be seen without much ado."""
        driver = self._connection.dbapi_connection
        if self.dialect.is_stale(driver):
            return False
        if time.monotonic() - self._used < _IDLE_SECONDS:
            return True
        try:
            return bool(self._database.ping(driver))
        except self._database.errors:
            return False

    def hang_up(self) -> None:
        """Close it."""
        try:
            self._connection.invalidate()
        finally:
            self._connection.close()

    def _is_clean(self, error: BaseException | None) -> bool:
        """Whether it is known what the server would send next."""
        if isinstance(error, self._database.errors):
            return self._database.trouble(error) not in _BROKEN
        return error is None or isinstance(error, (SharedStateError, Conflict))

    def _roll_back(self) -> bool:
        self._has_begun = False
        try:
            self.execute("ROLLBACK")
        except self._database.errors:
            return False
        return True
