"""SQLite, through the standard library."""

from __future__ import annotations

import random
import sqlite3
import time
from pathlib import Path
from typing import Any

from ...support.directory import make_private_file
from ...support.sqlite_damage import ERRORS, is_damage, refuse_text
from .base import Dialect, Trouble

_LONGEST_PAUSE = 0.01

_TROUBLES = {
    sqlite3.SQLITE_BUSY: Trouble.LATE,
    sqlite3.SQLITE_LOCKED: Trouble.LATE,
    sqlite3.SQLITE_FULL: Trouble.FULL,
    sqlite3.SQLITE_TOOBIG: Trouble.FULL,
    sqlite3.SQLITE_READONLY: Trouble.DENIED,
}
_TEXTS = {
    "no such table": Trouble.NO_TABLE,
    "already exists": Trouble.CONFLICT,
    "no such column": Trouble.WRONG_TABLE,
    "has no column": Trouble.WRONG_TABLE,
    "ON CONFLICT clause does not match": Trouble.WRONG_TABLE,
}


class SQLite(Dialect):
    """One writer at a time; readers wait for none, as the file is in WAL mode."""

    errors = ERRORS
    marker = "?"
    scope = "host"
    most_names = 30_000
    begin = "BEGIN IMMEDIATE"
    lock = ""
    skip_locked = ""
    schema = (
        "CREATE TABLE {table} (name BLOB PRIMARY KEY, value BLOB, number INTEGER, expires REAL) "
        "WITHOUT ROWID",
        "CREATE INDEX {index} ON {table} (expires) WHERE expires IS NOT NULL",
    )

    @property
    def kept(self) -> str:
        return self.durability

    @property
    def connect_args(self) -> dict[str, Any]:
        return {"isolation_level": None, "timeout": self.timeout}

    def lock_file(self, url: Any) -> Path | None:
        return Path(f"{url.database}.lock")

    def connect(self, *arguments: Any, **options: Any) -> Any:
        name = str(arguments[0]).removeprefix("file:").partition("?")[0]
        make_private_file(Path(name).absolute(), "CACHE_DATABASE_URL")
        return None

    def prepare(self, connection: Any) -> None:
        is_wal = self._set_wal(connection)
        level = "NORMAL" if is_wal and self.durability == "normal" else "FULL"
        connection.execute(f"PRAGMA synchronous = {level}").close()
        connection.text_factory = refuse_text

    def _set_wal(self, connection: Any) -> bool:
        """Put the file in WAL mode; returns whether it is.

        SQLite's own busy wait does not wait here, when many find a new file.
        """
        deadline = time.monotonic() + self.timeout
        while True:
            try:
                mode = connection.execute("PRAGMA journal_mode = WAL").fetchall()
                return bool(mode == [("wal",)])
            except sqlite3.OperationalError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(random.random() * _LONGEST_PAUSE)

    def trouble(self, error: Exception) -> Trouble:
        if is_damage(error):
            return Trouble.DAMAGED
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        texts = (trouble for text, trouble in _TEXTS.items() if text in str(error))
        return _TROUBLES.get(code) or next(texts, Trouble.OTHER)

    def descriptor(self, connection: Any) -> int | None:
        return None
