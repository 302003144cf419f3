"""One process's access to an SQLite file: one writer, and a pool of readers."""

from __future__ import annotations

import os
import sqlite3
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from types import TracebackType
from typing import Any

from ...errors import SharedStateError, StoreUnavailable
from ..support.directory import Identity, sync_names
from ..support.file_lock import FileLock, attempts
from ..support.gate import Gate
from ..support.sqlite_damage import ERRORS
from ..support.watch import Watch
from .errors import explained, is_busy, too_late
from .format import connect, is_ours, prepare
from .sqlite_log import Bounds, Log

Execute = Callable[..., sqlite3.Cursor]
Statement = tuple[str, Sequence[Any]]

_FAILURES = (*ERRORS, OSError)
_BEGIN = "BEGIN IMMEDIATE"
_IDLE_READERS = 8


class SQLiteFile:
    """The file, opened when it is first used and made when it is missing.

    As a context manager it is a write transaction::

        with file as execute:
            execute("UPDATE …")

    :param schema: the statements that make the tables of a new file.
    :param max_bytes: bound of the file and its log together.
    :param timeout: how long a writer waits for others, in seconds.
    """

    def __init__(
        self, path: Path, schema: str, *, durability: str, max_bytes: int, timeout: float
    ) -> None:
        self.path = path
        self._schema = schema
        self._durability = durability
        self._bounds = Bounds(max_bytes)
        self._timeout = timeout
        self._lock = FileLock(path.with_suffix(".lock"))
        self._writer: sqlite3.Connection | None = None
        self._execute: Execute
        self.execute_many: Execute  # In a write transaction.
        self._log: Log
        self._watch: Watch
        self.is_lost = False
        self._readers: deque[sqlite3.Connection] = deque()
        self.identity: Identity | None = None
        self._gate = Gate()
        self._retired = False

    def __enter__(self) -> Execute:
        try:
            self._start(_BEGIN, ())
        except _FAILURES as error:
            raise self.explained(error) from error
        return self._execute

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if error is None:
                assert self._writer is not None
                self._writer.execute("COMMIT")
        except ERRORS as failed:
            error = failed
        finally:
            if error is not None:
                self._roll_back()
            self._end_write()
        if isinstance(error, ERRORS):
            raise self.explained(error) from error

    def write(self, statement: str, arguments: Sequence[Any]) -> tuple[list[Any], int]:
        """What one statement returns, and how many rows it changes; a transaction by itself.

        For one that writes a few pages. It does not look for the bound, as transactions do.
        """
        try:
            cursor = self._start(statement, arguments)
            try:
                return cursor.fetchall(), cursor.rowcount
            finally:
                self._end_write()
        except _FAILURES as error:
            raise self.explained(error) from error

    def query(self, *statements: Statement) -> list[Any]:
        """The rows of all ``statements``, read from one snapshot; waits for no writer."""
        if self.identity is None and not self._find():
            with self:  # Makes the file, or refuses it.
                pass
        try:
            with self._gate:
                reader = self._take_reader()
                try:
                    rows = _fetch(reader, statements)
                except BaseException:
                    reader.close()
                    raise
                self._return_reader(reader)
        except ERRORS as error:
            raise self.explained(error) from error
        return rows

    def rows(self, statement: str, arguments: Sequence[Any]) -> Iterator[Any]:
        """The rows of a statement one by one, all from one snapshot; waits for no writer."""
        self.query(("SELECT 1", ()))  # Makes the file where there is none.
        try:
            with self._gate, closing(self._connect()) as reader:
                yield from reader.execute(statement, arguments)
        except ERRORS as error:
            raise self.explained(error) from error

    def size(self) -> int:
        """The bytes of the file and of what is not yet merged into it."""
        parts = (self.path, self.path.with_name(f"{self.path.name}-wal"))
        return sum(part.stat().st_size for part in parts if part.exists())

    def close(self) -> None:
        """Wait for the operations in progress, and close everything for good."""
        self.pause()
        self._retired = True
        self.resume()

    def pause(self) -> None:
        """Wait for the operations in progress, close everything, and let none begin."""
        # Those that wait for the file lock leave in time by themselves.
        if self._gate.shut(2 * self._timeout):
            while self._readers:
                self._readers.pop().close()
            self._close_writer()
            self._lock.close()

    def resume(self) -> None:
        """Let operations begin again."""
        self._gate.open()

    def _start(self, statement: str, arguments: Sequence[Any]) -> sqlite3.Cursor:
        """Execute what takes SQLite's lock; unless it raises, ``_end_write`` has to follow.

        SQLite's waiters starve each other: they wait at the file lock, or else nobody takes that.
        """
        self._gate.__enter__()
        if not self._lock.acquire_alone():
            return self._start_in_queue(self._lock.acquire, statement, arguments)
        try:
            if self._writer is not None and self._has_room(statement):
                return self._execute(statement, arguments)
        except BaseException as error:
            if not is_busy(error):
                self._end_write()
                raise
        return self._start_in_queue(self._lock.wait, statement, arguments)

    def _start_in_queue(
        self, acquire: Callable[[float], bool], statement: str, arguments: Sequence[Any]
    ) -> sqlite3.Cursor:
        """Like :meth:`_start`, under the file lock: to open the file, or where writers wait."""
        deadline = time.monotonic() + self._timeout
        try:
            if not acquire(self._timeout):
                raise too_late(self.path, self._timeout)
        except BaseException:
            self._gate.__exit__()
            raise
        try:
            if self._writer is None:
                self._open()
            for _ in attempts():
                try:
                    if not self._has_room(statement):
                        self._log.make_room(self._lock.announce)
                    return self._execute(statement, arguments)
                except sqlite3.OperationalError as error:
                    if not is_busy(error) or time.monotonic() > deadline:
                        raise
                self._lock.announce()
        except BaseException:
            self._end_write()
            raise
        raise AssertionError  # pragma: no cover - the attempts never end

    def _has_room(self, statement: str) -> bool:
        assert self._writer is not None
        if self._watch.is_due() and self._watch.is_lost():
            raise self._lost()
        return statement is not _BEGIN or self._log.has_room()

    def _end_write(self) -> None:
        if self._retired:
            self._close_writer()
            self._lock.close()
        self._lock.release()
        self._gate.__exit__()

    def _find(self) -> bool:
        """Whether the file is there and ours, for readers, who need not wait to make it."""
        try:
            with self._gate:
                if not self.path.exists():
                    return False
                with closing(self._connect()) as reader:
                    if is_ours(reader):
                        self.identity = Identity(self.path)
                return self.identity is not None
        except (OSError, *ERRORS) as error:
            raise self.explained(error) from error

    def _open(self) -> None:
        if self.identity is not None and self.identity.is_other():
            raise self._lost()
        try:
            # SQLite gives its own files beside this one the same mode.
            os.close(os.open(self.path, os.O_CREAT | os.O_EXCL, 0o600))
        except FileExistsError:
            pass
        with ExitStack() as undo:
            writer = undo.enter_context(closing(self._connect()))
            prepare(writer, self.path, self._schema, self._bounds)
            if self._durability == "full":
                sync_names(self.path.parent)
            log = undo.enter_context(closing(Log(self.path, self._bounds, writer)))
            identity = Identity(self.path)
            watch = Watch(self.path)
            undo.pop_all()
        self._log, self._watch, self.identity, self._writer = log, watch, identity, writer
        # Another writer is waited for at the file lock.
        writer.execute("PRAGMA busy_timeout = 0").fetchall()
        # One cursor for all that the writer does; making one takes as long as some statements.
        cursor = self._cursor = writer.cursor()
        self._execute, self.execute_many = cursor.execute, cursor.executemany

    def _connect(self) -> sqlite3.Connection:
        return connect(self.path, self._durability, self._bounds, self._timeout)

    def _roll_back(self) -> None:
        writer = self._writer
        if writer is not None and writer.in_transaction:
            try:
                writer.execute("ROLLBACK")
            except ERRORS:
                self._close_writer()  # Which undoes what was not committed just as well.

    def _take_reader(self) -> sqlite3.Connection:
        try:
            return self._readers.pop()
        except IndexError:
            return self._connect()

    def _return_reader(self, reader: sqlite3.Connection) -> None:
        if len(self._readers) < _IDLE_READERS and not self._retired:
            self._readers.append(reader)
        else:
            reader.close()

    def _close_writer(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            self._log.close()
            self._watch.close()
            self._cursor.close()  # SQLite keeps the file open while there is a statement.
            writer.close()

    def _lost(self) -> StoreUnavailable:
        assert self.identity is not None
        self.is_lost = True
        return self.identity.error()

    def explained(self, error: Exception) -> SharedStateError:
        """The library's error for one of SQLite's or the system's."""
        return explained(error, self.path, self._bounds.max_bytes, self._timeout)


def _fetch(reader: sqlite3.Connection, statements: Sequence[Statement]) -> list[Any]:
    if len(statements) == 1:
        return reader.execute(*statements[0]).fetchall()
    reader.execute("BEGIN")
    rows = [row for statement in statements for row in reader.execute(*statement).fetchall()]
    reader.execute("COMMIT")
    return rows
