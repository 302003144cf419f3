"""``filesystem``: the records in one SQLite file, shared by all processes of a host."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ...errors import StoreFull
from ...settings import GIBIBYTE, Settings
from ..base import Page, Store, key_range
from ..operations import Increment, Operation, Record, Records
from ..support.directory import data_directory, make_private, set_aside
from ..support.opened import Opened
from ..support.paging import ordered_page
from ..support.sqlite_damage import Damaged, checked_rows
from .errors import COMPANIONS
from .increments import Increments
from .rows import found, live, select_many, write
from .sqlite_file import Execute, SQLiteFile

FILE_NAME = "sharedstate.sqlite3"

_COLLECT_EVERY = 32
_ROOM_ROWS = 1000
_SEVERAL_KEYS = 3
"""From how many keys on one query for all of them is faster than one for each."""

_SCHEMA = """
CREATE TABLE entries (
    key BLOB PRIMARY KEY, value NOT NULL, expires REAL
) WITHOUT ROWID;
CREATE INDEX entries_expires ON entries (expires) WHERE expires IS NOT NULL;
"""
_SELECT = "SELECT value, expires FROM entries WHERE key = ?"
_SNAPSHOT = "SELECT key, value, expires FROM entries WHERE expires IS NULL OR expires > ?"
_DELETE_RANGE = "DELETE FROM entries WHERE key >= ? AND key < ?"
_COLLECT = (
    "DELETE FROM entries WHERE key IN (SELECT key FROM entries "
    "WHERE expires IS NOT NULL AND expires <= ? ORDER BY expires LIMIT ?)"
)
_ROWS = "SELECT key, expires FROM entries WHERE key >= ? AND key < ? ORDER BY key LIMIT ?"


class FilesystemStore(Store):
    """A table in an SQLite file in WAL mode.

    ``kill -9`` of any process loses no write that has returned. With ``durability="normal"`` a
    power cut may lose the last moments but never damages the file; with ``"full"`` a write
    that has returned is on the disk.

    :param directory: where the file lies; made when missing, private to this user.
    :param max_bytes: bound of the file and its log together; a write past it is refused.
    """

    name = "filesystem"
    scope = "host"
    snapshot_is_atomic = True
    combines = True

    def __init__(
        self,
        directory: Path,
        *,
        durability: str = "normal",
        max_bytes: int = GIBIBYTE,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.directory = directory
        self.durability = durability
        self._max_bytes = max_bytes
        self._opened: Opened[SQLiteFile] = Opened()
        self._increments = Increments()
        # Rows since the last collection; the first write of a process collects what others left.
        self._written = _COLLECT_EVERY

    @classmethod
    def from_settings(cls, settings: Settings) -> FilesystemStore:
        return cls(
            data_directory(settings),
            durability=settings["CACHE_DURABILITY"],
            max_bytes=settings["CACHE_MAX_BYTES"],
            timeout=settings["CACHE_TIMEOUT"],
        )

    def transact(self, keys: Sequence[bytes], operation: Operation) -> Any:
        self._written += len(keys)
        try:
            if type(operation) is Increment:
                if self._written >= _COLLECT_EVERY:
                    with self._file() as execute:
                        self._collect(execute, self.clock())
                file = self._opened.value
                if file is None or file.is_lost:
                    file = self._file()
                number = self._increments.apply(file, keys[0], operation, self.clock())
                if number is not None:
                    return number
            return self._transact(keys, operation)
        except StoreFull as error:
            return self.retry_with_room(error, partial(self._transact, keys, operation))

    def _collect(self, execute: Execute, now: float) -> None:
        """Remove some of what has expired, in proportion to what was written."""
        execute(_COLLECT, (now, 2 * self._written))
        self._written = 0

    def _transact(self, keys: Sequence[bytes], operation: Operation) -> Any:
        file = self._file()
        with file as execute:
            now = self.clock()
            records = self._present(execute, keys, now)
            after, result = operation(records, now)
            write(file, zip(keys, records, after, strict=True))
            if self._written >= _COLLECT_EVERY:
                self._collect(execute, now)
            return result

    def _present(self, execute: Execute, keys: Sequence[bytes], now: float) -> Records:
        if len(keys) < _SEVERAL_KEYS:
            return [live(execute(_SELECT, (key,)).fetchall(), now) for key in keys]
        rows = [row for each in select_many(keys) for row in execute(*each).fetchall()]
        return found(rows, keys, now)

    def read(self, keys: Sequence[bytes]) -> list[Record | None]:
        file = self._file()
        try:
            if len(keys) == 1:
                return [live(file.query((_SELECT, (keys[0],))), self.clock())]
            return self._read_many(file, keys)
        except Damaged as error:
            raise file.explained(error) from error

    def _read_many(self, file: SQLiteFile, keys: Sequence[bytes]) -> list[Record | None]:
        rows = file.query(*select_many(keys))
        return found(rows, keys, self.clock())

    def page(self, prefix: bytes, cursor: str | None, limit: int) -> Page:
        file = self._file()

        def fetch(*bounds: Any) -> Sequence[Any]:
            try:
                return checked_rows(file.query((_ROWS, bounds)))
            except Damaged as error:
                raise file.explained(error) from error

        return ordered_page(fetch, prefix, cursor, limit, self.clock())

    def clear(self, prefix: bytes) -> None:
        with self._file() as execute:
            execute(_DELETE_RANGE, key_range(prefix))

    def snapshot(self) -> Iterator[tuple[bytes, Record]]:
        now = self.clock()
        file = self._file()
        try:
            for key, *columns in file.rows(_SNAPSHOT, (now,)):
                record = live([columns], now)
                if record is not None:
                    yield key, record
        except Damaged as error:
            raise file.explained(error) from error

    def set_aside(self) -> list[str]:
        self.close()
        return set_aside(make_private(self.directory) / FILE_NAME, *COMPANIONS)

    def ping(self) -> None:
        self._file().query(("SELECT 1 FROM entries LIMIT 1", ()))

    def describe(self) -> dict[str, Any]:
        return {
            "location": str(self._file().path),
            "durability": self.durability,
        }

    def measure(self) -> dict[str, int]:
        file = self._file()
        [[entries]] = file.query(("SELECT count(*) FROM entries", ()))
        return {"entries": entries, "bytes": file.size()}

    def collect(self) -> int:
        with self._file() as execute:
            return execute(_COLLECT, (self.clock(), _ROOM_ROWS)).rowcount

    def close(self) -> None:
        self._opened.close()

    def before_fork(self) -> None:
        if self._opened.value is not None:
            self._opened.value.pause()

    def after_fork_in_parent(self) -> None:
        if self._opened.value is not None:
            self._opened.value.resume()

    def after_fork_in_child(self) -> None:
        self._opened.inherit()

    def _file(self) -> SQLiteFile:
        file = self._opened.value or self._open()
        if file.is_lost:  # A writer has found that.
            self._opened.close(file)
            file = self._open()
        if file.identity is not None and file.identity.is_lost():
            self._opened.close(file)
            raise file.identity.error()
        return file

    def _open(self) -> SQLiteFile:
        file = SQLiteFile(
            make_private(self.directory) / FILE_NAME,
            _SCHEMA,
            durability=self.durability,
            max_bytes=self._max_bytes,
            timeout=self.timeout,
        )
        return self._opened.put(self, file, SQLiteFile.close)
