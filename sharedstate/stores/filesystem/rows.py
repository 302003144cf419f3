"""How records are rows of the table, several at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import chain
from operator import itemgetter
from typing import Any

from ..operations import NEVER, Record
from ..support.counters import number_in
from ..support.sqlite_damage import Damaged
from .sqlite_file import Execute, Statement

_last = itemgetter(-1)

SEVERAL = 4
"""From how many rows on one statement for all of them is faster than one for each."""
_ROWS_A_STATEMENT = 128
_LONG = 1000
"""A value of more bytes is written by itself: SQLite would copy it once more."""

# One statement for 32 rows takes a quarter less time than one for each, and gives the GIL away
# once instead of 32 times. For keys IN a list SQLite makes an index first; a join does without.
_SELECT_MANY = (
    "WITH wanted (key) AS (VALUES {}) SELECT entries.key, value, expires "
    "FROM wanted CROSS JOIN entries ON entries.key = wanted.key"
)
_UPDATE = "UPDATE entries SET value = ? WHERE key = ?"
_UPDATE_MANY = (
    "INSERT INTO entries (value, key) VALUES {} "
    "ON CONFLICT (key) DO UPDATE SET value = excluded.value"
)
_UPSERT_MANY = (
    "INSERT INTO entries (value, expires, key) VALUES {} "
    "ON CONFLICT (key) DO UPDATE SET value = excluded.value, expires = excluded.expires"
)
_UPSERT = _UPSERT_MANY.format("(?,?,?)")
_DELETE_MANY = "DELETE FROM entries WHERE key IN ({})"
_DELETE = _DELETE_MANY.format("?")


def select_many(keys: Sequence[bytes]) -> list[Statement]:
    """The query for all of the keys, as often as they are too many for one."""
    return list(_statements(_SELECT_MANY, keys, 1))


def _statements(template: str, arguments: Sequence[Any], columns: int) -> Iterator[Statement]:
    """The statement for all of the rows, as often as they are too many for one.

    The last row is repeated up to the next of a few lengths, so that few statements are prepared.
    """
    longest = _ROWS_A_STATEMENT * columns
    for first in range(0, len(arguments), longest):
        chunk = list(arguments[first : first + longest])
        rows = len(chunk) // columns
        missing = -rows % (1 << max((rows - 1).bit_length() - 3, 0))
        chunk += chunk[-columns:] * missing
        yield _text(template, rows + missing, columns), chunk


@lru_cache(maxsize=256)
def _text(template: str, rows: int, columns: int) -> str:
    row = f"({','.join('?' * columns)})"
    return template.format(",".join([row] * rows))


def found(rows: Sequence[Any], keys: Sequence[bytes], now: float) -> list[Record | None]:
    """The records of the keys, in the rows of ``_SELECT_MANY``."""
    found = {key: _record(value, expires, now) for key, value, expires in rows}
    return [found.get(key) for key in keys]


def live(rows: Sequence[Any], now: float) -> Record | None:
    """The record in the rows of ``_SELECT``, unless it has expired."""
    return _record(rows[0][0], rows[0][1], now) if rows else None


def _record(value: Any, expires: Any, now: float) -> Record | None:
    """The record in these columns, unless it has expired."""
    if type(value) is not bytes:
        if type(value) is not int:
            raise Damaged("it has a value that is none")
        value = b"%d" % value
    if expires is None:
        return value, NEVER
    try:
        return (value, expires) if expires > now else None
    except TypeError:
        raise Damaged("it has an expiry that is none") from None


def write(execute: Execute, changes: Iterable[tuple[bytes, Record | None, Record | None]]) -> None:
    """Write what an operation has changed: keys, with their old and their new records."""
    updated: list[tuple[Any, ...]] = []
    upserted: list[tuple[Any, ...]] = []
    removed: list[tuple[Any, ...]] = []
    for key, old, new in changes:
        if new is old:
            continue
        if new is None:
            removed.append((key,))
        elif old is not None and old[1] == new[1]:
            updated.append((_number_or_bytes(new[0]), key))
        else:
            upserted.append((_number_or_bytes(new[0]), _column(new[1]), key))
    if updated:
        _write(execute, _UPDATE, _UPDATE_MANY, updated)
    if upserted:
        _write(execute, _UPSERT, _UPSERT_MANY, upserted)
    if removed:
        _write(execute, _DELETE, _DELETE_MANY, removed)


def _write(execute: Execute, one: str, many: str, rows: list[tuple[Any, ...]]) -> None:
    if len(rows) < SEVERAL:
        for row in rows:
            execute(one, row)
        return
    rows.sort(key=_last)  # Neighbours are in one page of the file.
    short = []
    for row in rows:
        if type(row[0]) is bytes and len(row[0]) > _LONG:
            execute(one, row)
        else:
            short.append(row)
    for statement in _statements(many, list(chain.from_iterable(short)), len(rows[0])):
        execute(*statement)


def _column(expires: float) -> float | None:
    return None if expires == NEVER else expires


def _number_or_bytes(value: bytes) -> int | bytes:
    """A counter as a number that SQLite can add to; its bytes are those of the number."""
    number = number_in(value)
    return value if number is None else number
