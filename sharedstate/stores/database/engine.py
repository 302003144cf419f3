"""One process's connections to a database: bounded, checked before use, every error explained."""

from __future__ import annotations

import time
from collections.abc import Container, Sequence
from types import TracebackType
from typing import Any

from ...errors import ConfigurationError, SharedStateError
from ..support.drivers import import_driver
from ..support.file_lock import FileLock
from ..support.semaphore import FairSemaphore
from .deadline import left
from .dialects.base import Dialect, Trouble
from .errors import Conflict, explained, location, unavailable
from .fetch import Fetch, count, rows
from .idle import Idle

_CONNECTIONS = 8
# A connection that was idle for longer is asked whether it still leads anywhere.
_IDLE_SECONDS = 10.0

_BROKEN = frozenset({Trouble.LOST, Trouble.READ_ONLY})
_ANY = frozenset(Trouble)
_LOST = frozenset({Trouble.LOST})


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
        "generation",
    )

    def __init__(self, database: Database, connection: Any, generation: int) -> None:
        self.dialect = database.dialect
        self.doubtful: Container[Trouble] = ()
        """After which troubles what is done now may have been applied."""
        self.generation = generation
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
            if self._database.trouble(error) not in _BROKEN:
                return True
            self._database.idle.give_up(self)
            return False
        return error is None or isinstance(error, (SharedStateError, Conflict))

    def _roll_back(self) -> bool:
        self._has_begun = False
        try:
            self.execute("ROLLBACK")
        except self._database.errors:
            return False
        return True


class Database:
    """Connections that SQLAlchemy opens, each in the driver's autocommit mode.

    They are kept here and statements go to the driver as they are. SQLAlchemy 2.1's ``QueuePool``
    does not do: it waits for its own ``pool_timeout``, not for what is left of the call's time,
    and may pass over who waits. ``pool_pre_ping`` is another round trip before each statement
    (80 µs on PostgreSQL beside the statement's 110); without it a write is sent to a server that
    has gone, and its outcome is unknown. Here a look at the socket tells. To take and return a
    connection costs 1.2 µs here and 5.3 there, of 17 for an increment on SQLite.

    :param url: SQLAlchemy's URL object.
    :param options: for ``create_engine``, beside the dialect's own.
    """

    def __init__(self, url: Any, dialect: Dialect, options: dict[str, Any]) -> None:
        self.dialect = dialect
        self.location = location(url)
        sqlalchemy = import_driver("sqlalchemy", "database")
        options = {**dialect.engine_options, **options}
        self._free = FairSemaphore(options.pop("pool_size", _CONNECTIONS))
        self.idle: Idle[Connection] = Idle()
        self._is_closed = False
        path = dialect.lock_file(url)
        self.write_lock = FileLock(path) if path else None
        arguments = {**dialect.connect_args, **options.pop("connect_args", {})}
        try:
            self._engine = sqlalchemy.create_engine(
                url, poolclass=sqlalchemy.pool.NullPool, connect_args=arguments, **options
            )
        except (TypeError, sqlalchemy.exc.ArgumentError) as error:
            raise ConfigurationError(f"CACHE_OPTIONS: {error}") from error
        self.errors: tuple[type[Exception], ...] = (
            self._engine.dialect.loaded_dbapi.Error,
            sqlalchemy.exc.SQLAlchemyError,
            *dialect.errors,
        )
        listen = sqlalchemy.event.listen
        listen(self._engine, "do_connect", lambda _, __, args, kw: dialect.connect(*args, **kw))
        listen(self._engine, "connect", lambda connection, _: dialect.prepare(connection))

    def connection(self) -> Connection:
        """One that others do not use, until the end of its ``with``."""
        if not self._free.acquire(left(self.dialect.timeout)):
            raise unavailable(
                self.location, f"its connections were in use for {self.dialect.timeout} s"
            )
        try:
            return self.idle.take() or self._opened()
        except BaseException as error:
            self._free.release()
            if isinstance(error, self.errors):
                raise self.explained(error) from error
            raise

    def _opened(self) -> Connection:
        generation = self.idle.generation  # The server may be given up while this connects to it.
        return Connection(self, self._engine.raw_connection(), generation)

    def give_back(self, connection: Connection, *, keep: bool) -> None:
        """Let others use the connection, if it can be used."""
        try:
            if keep and not self._is_closed:
                self.idle.put(connection)
            else:
                connection.hang_up()
        finally:
            self._free.release()

    def disconnect(self) -> None:
        """Close what is not in use; it is opened again when needed."""
        self.idle.close()
        lock = self.write_lock
        if lock is not None and lock.is_open and lock.acquire(self.dialect.timeout):
            lock.close()
            lock.release()

    def close(self) -> None:
        """Close what is not in use, and let nothing be kept after its use."""
        self._is_closed = True
        self.disconnect()

    def read(self, statement: str, arguments: Sequence[Any] = ()) -> list[Any]:
        """The rows of one statement, which are those of one moment."""
        with self.connection() as connection:
            found: list[Any] = connection.execute(statement, arguments, rows)
        return found

    def write(self, statement: str, arguments: Sequence[Any], fetch: Fetch = count) -> Any:
        """What ``fetch`` makes of one statement that is a transaction by itself."""
        with self.connection() as connection:
            connection.lock_writers()
            connection.doubtful = _LOST
            return connection.execute(statement, arguments, fetch)

    def make_table(self) -> None:
        """Make the table; if another client does at the same time, it is a conflict."""
        try:
            with self.connection() as connection:
                connection.begin()
                for statement in self.dialect.schema:
                    connection.execute(statement)
                connection.commit()
        except ConfigurationError as error:
            raise ConfigurationError(
                f"{error}; let somebody who may run\n{self.dialect.ddl}"
            ) from error.__cause__

    def ping(self, driver: Any) -> bool:
        """Whether a round trip on a connection of the driver's succeeds."""
        is_alive: bool = self._engine.dialect.do_ping(driver)
        return is_alive

    def trouble(self, error: BaseException) -> Trouble:
        """What a driver's error means, in SQLAlchemy's wrapping or not."""
        original: Any = getattr(error, "orig", None) or error
        own: tuple[type[Exception], ...] = (self.errors[0], *self.dialect.errors)
        if isinstance(original, own):
            return self.dialect.trouble(original)
        return Trouble.LOST

    def explained(self, error: Exception, doubtful: Container[Trouble] = ()) -> Exception:
        """The library's error for a driver's.

        :param doubtful: after which of the troubles a write may have been applied.
        """
        trouble = self.trouble(error)
        text = str(getattr(error, "orig", None) or error).strip().partition("\n")[0]
        return explained(trouble, text, self.location, self.dialect.table, trouble in doubtful)
