"""The write-ahead log beside an SQLite file, kept within a bound."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

from ..support.file_lock import attempts
from .errors import log_full

# A commit writes whole pages, so small ones make small records cheap: with SQLite's usual 4 KiB
# a counter takes a fifth more time.
PAGE_BYTES = 1024

_FRAME_BYTES = PAGE_BYTES + 24
_CHECKPOINT_PAGES = 4000
_WAIT_SECONDS = 0.25
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
    :param writer: a connection to it, which is in no transaction when a method is called.
    :raises OSError: if the log cannot be opened.
    """

    def __init__(self, file: Path, bounds: Bounds, writer: sqlite3.Connection) -> None:
        self._file = file
        self._bounds = bounds
        self._writer = writer
        # SQLite holds no locks on this file, which closing a descriptor of it would end.
        self._descriptor = os.open(f"{file}-wal", os.O_RDONLY)
        self._waited = -_WAIT_AGAIN_SECONDS

    def has_room(self) -> bool:
        """Whether the log may grow; empties it if it must not, and nobody needs it now."""
        if os.lseek(self._descriptor, 0, os.SEEK_END) <= self._bounds.log_bytes:
            return True
        return self._fits() or self._empty() or self._fits()

    def make_room(self, announce: Callable[[], None]) -> None:
        """Empty the log, while other processes write nothing.

        Those that write without a pause leave no moment in which it could be emptied.

        :param announce: keeps other processes from writing, for a few milliseconds.
        :raises sqlite3.OperationalError: if one writes just now.
        :raises StoreFull: if somebody reads for a while; for a second the next one does not wait.
        """
        announce()
        self._writer.execute("BEGIN IMMEDIATE")
        self._writer.execute("ROLLBACK")
        began = time.monotonic()
        is_patient = began - self._waited > _WAIT_AGAIN_SECONDS
        for _ in attempts():
            announce()
            if self.has_room():
                return
            if not is_patient or time.monotonic() - began > _WAIT_SECONDS:
                break
        if is_patient:
            self._waited = time.monotonic()
        raise log_full(self._file, self._bounds.max_bytes)

    def close(self) -> None:
        os.close(self._descriptor)

    def _fits(self) -> bool:
        size = os.stat(self._file).st_size + os.lseek(self._descriptor, 0, os.SEEK_END)
        return size <= self._bounds.max_bytes

    def _empty(self) -> bool:
        """Whether the log is empty now; it is not if somebody reads it, or writes."""
        [[is_busy, _, _]] = self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        return not is_busy
