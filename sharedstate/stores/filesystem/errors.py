"""What SQLite's errors are to the callers of the store."""

from __future__ import annotations

import errno
import sqlite3
from pathlib import Path

from ...errors import SharedStateError, StoreFull, StoreUnavailable
from ..support.directory import remedy
from ..support.sqlite_damage import is_damage

COMPANIONS = "-wal", "-shm"
"""What SQLite adds to the name of a file for those beside it."""

_REMEDY = remedy(*COMPANIONS)


def explained(error: Exception, path: Path, max_bytes: int, timeout: float) -> SharedStateError:
    """The library's error for one of SQLite's or the system's."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_FULL or getattr(error, "errno", 0) == errno.ENOSPC:
        return StoreFull(
            f"{path} has reached CACHE_MAX_BYTES ({max_bytes:,} bytes), "
            "or its disk is full; the write was not applied, and nothing is lost"
        )
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return too_late(path, timeout)
    if is_damage(error):
        return StoreUnavailable(f"{path} is damaged or not an SQLite file ({error}); {_REMEDY}")
    return StoreUnavailable(f"{path} cannot be used: {error}")


def is_busy(error: BaseException) -> bool:
    """Whether SQLite did nothing, as another writer has its lock."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY


def too_late(path: Path, timeout: float) -> StoreUnavailable:
    """The error for a writer that did not get the file lock in time."""
    return StoreUnavailable(
        f"other processes kept {path} busy for {timeout} seconds (CACHE_TIMEOUT); "
        "one of them may be stopped, or its disk may hang"
    )


def log_full(path: Path, max_bytes: int) -> StoreFull:
    """The error where the log cannot be emptied, and no room is left for it to grow."""
    return StoreFull(
        f"{path} and its log have reached CACHE_MAX_BYTES ({max_bytes:,} bytes), and somebody who "
        "reads it, such as a backup, keeps the log from being emptied; the write was not applied, "
        "and nothing is lost"
    )
