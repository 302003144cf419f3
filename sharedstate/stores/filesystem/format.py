"""What our SQLite file is like: how it is opened, its tables, and what says that it is ours."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

from ...errors import ConfigurationError
from ..support.sqlite_damage import refuse_text
from .sqlite_log import PAGE_BYTES, Bounds

_APPLICATION_ID = 0x53685374
_FORMAT = 1

_SYNCHRONOUS = {"normal": "NORMAL", "full": "FULL"}


def connect(path: Path, durability: str, bounds: Bounds, timeout: float) -> sqlite3.Connection:
    """A connection to the file, which is made when it is missing.

    :param timeout: how long SQLite itself waits for a lock, in seconds.
    """
    connection = sqlite3.connect(
        path, timeout=timeout, isolation_level=None, check_same_thread=False
    )
    connection.text_factory = refuse_text
    try:
        connection.executescript(
            f"PRAGMA page_size = {PAGE_BYTES};"
            f"PRAGMA synchronous = {_SYNCHRONOUS[durability]};"
            f"PRAGMA wal_autocheckpoint = {bounds.log_pages};"
            f"PRAGMA journal_size_limit = {bounds.log_bytes};"
            "PRAGMA cell_size_check = ON;"
        )
    except BaseException:
        connection.close()
        raise
    return connection


def prepare(writer: sqlite3.Connection, path: Path, schema: str, bounds: Bounds) -> None:
    """Make the tables of a new file, and bound its size.

    :param schema: the statements that make the tables.
    :raises ConfigurationError: if the file is another program's or version's.
    """
    application, form = _format_of(writer)
    is_new = not writer.execute("SELECT 1 FROM sqlite_schema").fetchall()
    if is_new and application == 0:
        writer.executescript(
            f"PRAGMA journal_mode = WAL; BEGIN; {schema}"
            f"PRAGMA application_id = {_APPLICATION_ID};"
            f"PRAGMA user_version = {_FORMAT}; COMMIT;"
        )
    elif (application, form) != (_APPLICATION_ID, _FORMAT):
        raise ConfigurationError(
            f"{path} is an SQLite file of another program or version; "
            "it was left as it is: choose another CACHE_DIR"
        )
    _pragma(writer, f"max_page_count = {bounds.file_pages}")


def is_ours(connection: sqlite3.Connection) -> bool:
    """Whether the file has our tables, of this version."""
    return _format_of(connection) == (_APPLICATION_ID, _FORMAT)


def _format_of(connection: sqlite3.Connection) -> tuple[int, int]:
    return _pragma(connection, "application_id"), _pragma(connection, "user_version")


def _pragma(connection: sqlite3.Connection, text: str) -> Any:
    return connection.execute(f"PRAGMA {text}").fetchall()[0][0]
