"""The write-ahead log beside an SQLite file, kept within a bound."""

from __future__ import annotations

import os
import sqlite3
import time
from pathlib import Path

# A commit writes whole pages, so small ones make small records cheap: with SQLite's usual 4 KiB
# a counter takes a fifth more time.
PAGE_BYTES = 1024

_FRAME_BYTES = PAGE_BYTES + 24
_CHECKPOINT_PAGES = 4000
_WAIT_MILLISECONDS = 250
_WAIT_AGAIN_SECONDS = 1.0


class Bounds:
    """How ``max_bytes`` are divided between the file and its log: a quarter, or 4 MB, is the log's.

    SQLite begins the log again after a checkpoint, if no reader needs what is in it. One that
    stays makes it grow, until both together have ``max_bytes``.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.log_pages = max(1, min(_CHECKPOINT_PAGES, max_bytes // 4 // _FRAME_BYTES))
        self.log_bytes = self.log_pages * _FRAME_BYTES
        self.file_pages = (max_bytes - self.log_bytes) // PAGE_BYTES


class Log:
    """The log of a file that is open, which is there for as long as the file is.

    :param file: the SQLite file's path.
    :raises OSError: if the log cannot be opened.
    """

    def __init__(self, file: Path, bounds: Bounds) -> None:
        self._file = file
        self._bounds = bounds
        # SQLite holds no locks on this file, which closing a descriptor of it would end.
        self._descriptor = os.open(f"{file}-wal", os.O_RDONLY)
        self._waited = -_WAIT_AGAIN_SECONDS

    def has_room(self, writer: sqlite3.Connection) -> bool:
        """Whether the log may grow; empties it if it must not, and no reader needs it.

        :param writer: a connection that is in no transaction.
        """
        if os.lseek(self._descriptor, 0, os.SEEK_END) <= self._bounds.log_bytes:
            return True
        return self._fits() or self._empty(writer) or self._fits()

    def close(self) -> None:
        os.close(self._descriptor)

    def _fits(self) -> bool:
        size = os.stat(self._file).st_size + os.lseek(self._descriptor, 0, os.SEEK_END)
        return size <= self._bounds.max_bytes

    def _empty(self, writer: sqlite3.Connection) -> bool:
        """Whether the log is empty now; waits for readers, but once a second for one that stays."""
        if _checkpoint(writer, 0):
            return True
        if time.monotonic() - self._waited < _WAIT_AGAIN_SECONDS:
            return False
        if _checkpoint(writer, _WAIT_MILLISECONDS):
            return True
        self._waited = time.monotonic()
        return False


def _checkpoint(writer: sqlite3.Connection, milliseconds: int) -> bool:
    [[usual]] = writer.execute("PRAGMA busy_timeout").fetchall()
    writer.execute(f"PRAGMA busy_timeout = {milliseconds}").fetchall()
    try:
        [[is_busy, _, _]] = writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    finally:
        writer.execute(f"PRAGMA busy_timeout = {usual}").fetchall()
    return not is_busy
