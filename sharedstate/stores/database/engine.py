"""One process's connections to a database: bounded, checked before use, every error explained."""

from __future__ import annotations

from collections import deque
from collections.abc import Container, Sequence
from typing import Any

from ...errors import ConfigurationError
from ..support.drivers import import_driver
from ..support.file_lock import FileLock
from ..support.semaphore import FairSemaphore
from .connection import Connection, Fetch, count, rows
from .deadline import left
from .dialects.base import Dialect, Trouble
from .errors import explained, location, unavailable

_CONNECTIONS = 8
_LOST = frozenset({Trouble.LOST})


class Database:
    """Connections that SQLAlchemy opens, each in the driver's autocommit mode.

    They are kept here and statements go to the driver as they are: SQLAlchemy's own pool and
    compiler take longer than the server does.

    :param url: SQLAlchemy's URL object.
    :param options: for ``create_engine``, beside the dialect's own.
    """

    def __init__(self, url: Any, dialect: Dialect, options: dict[str, Any]) -> None:
        self.dialect = dialect
        self.location = location(url)
        sqlalchemy = import_driver("sqlalchemy", "database")
        options = {**dialect.engine_options, **options}
        self._free = FairSemaphore(options.pop("pool_size", _CONNECTIONS))
        self._idle: deque[Connection] = deque()
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
            return self._kept() or Connection(self, self._engine.raw_connection())
        except BaseException as error:
            self._free.release()
            if isinstance(error, self.errors):
                raise self.explained(error) from error
            raise

    def _kept(self) -> Connection | None:
        """An idle connection; a restarted server is noticed before something is sent."""
        while True:
            try:
                connection = self._idle.pop()
            except IndexError:
                return None
            if connection.is_usable():
                return connection
            connection.hang_up()

    def give_back(self, connection: Connection, *, keep: bool) -> None:
        """Let others use the connection, if it can be used."""
        try:
            if keep and not self._is_closed:
                self._idle.append(connection)
            else:
                connection.hang_up()
        finally:
            self._free.release()

    def disconnect(self) -> None:
        """Close what is not in use; it is opened again when needed."""
        while self._idle:
            self._idle.pop().hang_up()
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
