"""Files that are not ours, or damaged."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from backends import BACKENDS, Backend
from crowd import in_child
from lifecycle import (
    Settings,
    opened,
)

from sharedstate import StoreUnavailable

# Files that are not ours, or not whole: what makes one of a whole one of ours.


def _text(path: Path) -> None:
    path.write_text("what somebody else has written\n" * 400)


def _short_text(path: Path) -> None:
    path.write_text("short")


def _other_tables(path: Path) -> None:
    path.unlink()
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE entries (key, value, expires)")
    connection.commit()
    connection.close()


def _other_environment(path: Path) -> None:
    import lmdb

    path.unlink()
    with lmdb.open(str(path.parent), max_dbs=1) as environment:
        with environment.begin(environment.open_db(b"theirs"), write=True) as transaction:
            transaction.put(b"key", b"value")


def _cut_in_half(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def _cut_to(size: int, path: Path) -> None:
    os.truncate(path, size)


def _schema_flipped(path: Path) -> None:
    """A byte of the schema's text is none of any text."""
    path.write_bytes(path.read_bytes().replace(b"PRIMARY KEY", b"PRIMARY \xf3EY"))


def _overwritten(path: Path) -> None:
    """All but the first kilobyte is noise."""
    with path.open("r+b") as file:
        file.seek(1024)
        file.write(b"\xa5" * (path.stat().st_size - 1024))


_SPOILERS = {
    "text": _text,
    "short text": _short_text,
    "cut in half": _cut_in_half,
    "cut to 3000": partial(_cut_to, 3000),
    "cut to 100": partial(_cut_to, 100),
}
_FILES = {
    "filesystem": _SPOILERS
    | {
        "other tables": _other_tables,
        "overwritten": _overwritten,
        "schema flipped": _schema_flipped,
    },
    "lmdb": _SPOILERS | {"other environment": _other_environment},
}


@pytest.mark.parametrize(
    "backend, spoil",
    [
        pytest.param(backend, spoil, id=f"{backend.id}-{name}")
        for backend in BACKENDS
        for name, spoil in _FILES.get(backend.name, {}).items()
    ],
)
def test_bad_file(spoil: Callable[[Path], None], cache_settings: Settings, tmp_path: Path) -> None:
    """A file that is not ours, or damaged, is refused by its name and left as it is."""
    with opened(cache_settings) as state:
        for i in range(100):
            state.set(f"k{i}", "x" * 500)
        location = Path(state.store.describe()["location"])
    file = location / "data.mdb" if location.is_dir() else location
    spoil(file)
    before = file.read_bytes()
    for use in (_read_all, _write_one):
        # In a child, as a damaged file that is mapped kills the process.
        kind, message = in_child(use, cache_settings)
        assert kind in ("StoreUnavailable", "ConfigurationError")
        assert str(location) in message
    assert file.read_bytes() == before


@pytest.mark.parametrize(
    "backend",
    [pytest.param(b, id=b.id) for b in BACKENDS if b.id in ("filesystem", "database-sqlite")],
)
def test_wrong_types(backend: Backend, cache_settings: Settings) -> None:
    """What a flipped bit makes of a value or an expiry is an error that says what to do."""
    damages = (
        "value = CAST(X'61' AS TEXT)",
        "value = CAST(X'ff61' AS TEXT)",
        "value = 1.5",
        "expires = X'00'",
        "expires = CAST(X'ff' AS TEXT)",
    )
    with opened(cache_settings) as state:
        state.set("k", "x", timeout=100)
        location = str(state.store.describe()["location"]).removeprefix("sqlite+pysqlite://")
        table = "entries" if backend.id == "filesystem" else "sharedstate"
        for damage in damages:
            state.set("k", "x", timeout=100)
            raw = sqlite3.connect(location.replace("///", "/"), isolation_level=None)
            raw.execute(f"UPDATE {table} SET {damage}")
            uses = [state.keys, state.items, lambda: list(state.store.snapshot())]
            uses += [lambda: state.get("k"), lambda: state.get_many("k", "m")]
            uses += [lambda: state.update("k", str)]
            for use in uses:
                if "value" in damage and use == state.keys:
                    continue
                with pytest.raises(StoreUnavailable, match="damaged.*flask state restore") as error:
                    use()
                assert location.rpartition("/")[2] in str(error.value)
            raw.execute(f"DELETE FROM {table}")
            raw.close()
        state.set("k", "x")
        with closing(sqlite3.connect(location.replace("///", "/"), isolation_level=None)) as raw:
            key = "key" if backend.id == "filesystem" else "name"
            raw.execute(f"UPDATE {table} SET {key} = CAST({key} || X'ff' AS BLOB)")
        for use in (state.keys, state.items):
            with pytest.raises(StoreUnavailable, match="damaged.*flask state restore"):
                use()


def _read_all(settings: Settings) -> Any:
    with opened(settings) as state:
        return state.get_many(*(f"k{i}" for i in range(100)))


def _write_one(settings: Settings) -> Any:
    with opened(settings) as state:
        return state.set("k50", "changed")
