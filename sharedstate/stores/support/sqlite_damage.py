"""Tells a damaged SQLite file, also where SQLite itself reads it without complaint."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any, NoReturn

REMEDY = (
    "it was left as it is: move it away, together with its -wal and -shm, and bring a backup back "
    "with 'flask state restore FILE', or begin anew"
)

ERRORS = (sqlite3.Error, UnicodeDecodeError)
"""What the driver raises; the second where a damaged schema is quoted in SQLite's message."""


class Damaged(sqlite3.DatabaseError):
    """The file holds what was never stored in it."""


def refuse_text(raw: bytes) -> NoReturn:
    """As ``text_factory``: no value of ours is text."""
    raise Damaged("it has text where there is none")


def checked_rows(rows: Sequence[Any]) -> Sequence[Any]:
    """The rows of keys and expiries.

    :raises Damaged: if there is something else in one.
    """
    for key, expires in rows:
        if type(key) is not bytes or (expires is not None and type(expires) is not float):
            raise Damaged("it has a key or an expiry that is none")
        try:
            key.decode()
        except UnicodeDecodeError:
            raise Damaged("it has a key that is no text") from None
    return rows


def is_damage(error: Exception) -> bool:
    """Whether an error means that the file is damaged, or not one of SQLite's."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return isinstance(error, (Damaged, UnicodeDecodeError)) or code in (
        sqlite3.SQLITE_NOTADB,
        sqlite3.SQLITE_CORRUPT,
    )
