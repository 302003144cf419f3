"""One process's access to an SQLite file: a writer that takes turns, and a pool of readers."""

from __future__ import annotations

import errno
import os
import sqlite3
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from ..errors import ConfigurationError, StoreFull, StoreUnavailable
from .directory import Identity
from .turn import Turn

Execute = Callable[..., sqlite3.Cursor]
Statement = tuple[str, Sequence[Any]]

_APPLICATION_ID = 0x53685374
_FORMAT = 1

# A commit writes whole pages, so small ones make small records cheap: with SQLite's usual 4 KiB
# a counter takes a fifth more time.
_PAGE_BYTES = 1024
_CHECKPOINT_PAGES = 4000
_IDENTITY_SECONDS = 0.1
_IDLE_READERS = 8

_SYNCHRONOUS = {"normal": "NORMAL", "full": "FULL"}


class SQLiteFile:
    """The file, opened when it is first used and made when it is missing.

    As a context manager it is a write transaction of its own turn::

        with file as execute:
            execute("UPDATE …")

    :param schema: the statements that make the tables of a new file.
    :param timeout: how long a writer waits for its turn, in seconds.
    """

    def __init__(
        self, path: Path, schema: str, *, durability: str, max_bytes: int, timeout: float
    ) -> None:
        self.path = path
        self._schema = schema
        self._durability = durability
        self._max_bytes = max_bytes
        self._timeout = timeout
        self._turn = Turn(path.with_suffix(".lock"))
        self._writer: sqlite3.Connection | None = None
        self._readers: deque[sqlite3.Connection] = deque()
        self._identity: Identity | None = None
        self._checked = 0.0

    def __enter__(self) -> Execute:
        self._take_turn()
        try:
            if time.monotonic() - self._checked > _IDENTITY_SECONDS:
                self._check_identity()
            writer = self._writer or self._open()
            writer.execute("BEGIN IMMEDIATE")
            return writer.execute
        except BaseException as error:
            self._turn.end()
            raise self.explained(error) from error

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
        except sqlite3.Error as failed:
            error = failed
        finally:
            if error is not None:
                self._roll_back()
            self._turn.end()
        if isinstance(error, sqlite3.Error):
            raise self.explained(error) from error

    def query(self, *statements: Statement) -> list[Any]:
        """The rows of all ``statements``, read from one snapshot; waits for no writer."""
        try:
            if time.monotonic() - self._checked > _IDENTITY_SECONDS:
                self._check_identity_in_turn()
            reader = self._take_reader()
            try:
                rows = _fetch(reader, statements)
            except BaseException:
                reader.close()
                raise
        except sqlite3.Error as error:
            raise self.explained(error) from error
        self._return_reader(reader)
        return rows

    def close(self) -> None:
        """Close what no operation is using."""
        self._close_readers()
        if self._turn.take(0):
            self._close_writer()
            self._turn.end()
            self._turn.close()

    def abandon(self) -> bool:
        """In a child after a fork: give up what was open; answers whether to keep this object.

        SQLite forbids to touch a parent's connections, closing included, so that they must not
        be collected either. Only the copy of the lock file's descriptor is closed: it would keep
        the parent's turn if the parent died.
        """
        self._turn.close()
        return self._writer is not None or bool(self._readers)

    def _take_turn(self) -> None:
        try:
            if self._turn.take(self._timeout):
                return
        except OSError as error:
            raise self.explained(error) from error
        raise self._too_late()

    def _open(self) -> sqlite3.Connection:
        try:
            # SQLite gives its own files beside this one the same mode.
            os.close(os.open(self.path, os.O_CREAT | os.O_EXCL, 0o600))
        except FileExistsError:
            pass
        writer = self._connect()
        try:
            self._prepare(writer)
        except BaseException:
            writer.close()
            raise
        self._identity = Identity(self.path)
        self._writer = writer
        return writer

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self.path, timeout=self._timeout, isolation_level=None, check_same_thread=False
        )
        connection.executescript(
            f"PRAGMA page_size = {_PAGE_BYTES};"
            f"PRAGMA synchronous = {_SYNCHRONOUS[self._durability]};"
            f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES};"
            "PRAGMA cell_size_check = ON;"
        )
        return connection

    def _prepare(self, writer: sqlite3.Connection) -> None:
        """Make the tables of a new file; refuse a file that is not ours."""
        application = _pragma(writer, "application_id")
        is_new = not writer.execute("SELECT 1 FROM sqlite_schema").fetchall()
        if is_new and application == 0:
            _pragma(writer, "journal_mode = WAL")
            writer.executescript(
                f"BEGIN; {self._schema} PRAGMA application_id = {_APPLICATION_ID};"
                f"PRAGMA user_version = {_FORMAT}; COMMIT;"
            )
        elif (application, _pragma(writer, "user_version")) != (_APPLICATION_ID, _FORMAT):
            raise ConfigurationError(
                f"{self.path} is an SQLite file of another program or version; "
                "it was left as it is: choose another CACHE_DIR"
            )
        _pragma(writer, f"max_page_count = {self._max_bytes // _PAGE_BYTES}")

    def _roll_back(self) -> None:
        writer = self._writer
        if writer is not None and writer.in_transaction:
            try:
                writer.execute("ROLLBACK")
            except sqlite3.Error:
                self._close_writer()  # Which undoes what was not committed just as well.

    def _take_reader(self) -> sqlite3.Connection:
        try:
            return self._readers.pop()
        except IndexError:
            if self._writer is None:
                with self:  # Makes the file, or refuses it.
                    pass
            return self._connect()

    def _return_reader(self, reader: sqlite3.Connection) -> None:
        if len(self._readers) < _IDLE_READERS:
            self._readers.append(reader)
        else:
            reader.close()

    def _check_identity_in_turn(self) -> None:
        self._take_turn()
        try:
            self._check_identity()
        finally:
            self._turn.end()

    def _check_identity(self) -> None:
        """Notice that the file was deleted: SQLite would go on with what has no name any more."""
        self._checked = time.monotonic()
        if self._identity is not None:
            try:
                self._identity.check()
            except StoreUnavailable:
                self._identity = None
                self._close_readers()
                self._close_writer()
                raise

    def _close_readers(self) -> None:
        while self._readers:
            self._readers.pop().close()

    def _close_writer(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()

    def _too_late(self) -> StoreUnavailable:
        return StoreUnavailable(
            f"other processes kept {self.path} busy for {self._timeout} seconds (CACHE_TIMEOUT); "
            "one of them may be stopped, or its disk may hang"
        )

    def explained(self, error: BaseException) -> BaseException:
        """The library's error for one of SQLite's or the system's; any other as it is."""
        if not isinstance(error, (sqlite3.Error, OSError)):
            return error
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code == sqlite3.SQLITE_FULL or getattr(error, "errno", 0) == errno.ENOSPC:
            return StoreFull(
                f"{self.path} has reached CACHE_MAX_BYTES ({self._max_bytes:,} bytes), "
                "or its disk is full; the write was not applied, and nothing is lost"
            )
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            return self._too_late()
        if code in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
            return StoreUnavailable(
                f"{self.path} is damaged or not an SQLite file ({error}); it was left as it is: "
                "restore it from a copy, or move it away to begin anew"
            )
        return StoreUnavailable(f"{self.path} cannot be used: {error}")


def _pragma(connection: sqlite3.Connection, text: str) -> Any:
    return connection.execute(f"PRAGMA {text}").fetchall()[0][0]


def _fetch(reader: sqlite3.Connection, statements: Sequence[Statement]) -> list[Any]:
    if len(statements) == 1:
        return reader.execute(*statements[0]).fetchall()
    reader.execute("BEGIN")
    rows = [row for statement in statements for row in reader.execute(*statement).fetchall()]
    reader.execute("COMMIT")
    return rows
