"""How records are rows of the table, several at a time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from operator import itemgetter
from typing import Any

from ..operations import NEVER, Record
from ..support.counters import number_in
from ..support.sqlite_damage import Damaged
from .sqlite_file import SQLiteFile

_first, _last = itemgetter(0), itemgetter(-1)

_KEYS_A_QUERY = 512
# For keys IN a list SQLite makes an index of the list first; a join does without.
_SELECT_MANY = (
    "WITH wanted (key) AS (VALUES {}) SELECT entries.key, value, expires "
    "FROM wanted CROSS JOIN entries ON entries.key = wanted.key"
)
_UPSERT = (
    "INSERT INTO entries VALUES (?, ?, ?) "
    "ON CONFLICT (key) DO UPDATE SET value = excluded.value, expires = excluded.expires"
)
_UPDATE = "UPDATE entries SET value = ? WHERE key = ?"
_DELETE = "DELETE FROM entries WHERE key = ?"


def select_many(keys: Sequence[bytes]) -> list[tuple[str, Sequence[Any]]]:
    """The query for all of the keys, as often as they are too many for one.

    The last key is repeated up to the next of a few lengths, so that few statements are prepared.
    """
    statements: list[tuple[str, Sequence[Any]]] = []
    for first in range(0, len(keys), _KEYS_A_QUERY):
        chunk = list(keys[first : first + _KEYS_A_QUERY])
        missing = -len(chunk) % (1 << max((len(chunk) - 1).bit_length() - 3, 0))
        chunk += chunk[-1:] * missing
        statements.append((_selecting(len(chunk)), chunk))
    return statements


@lru_cache(maxsize=64)
def _selecting(count: int) -> str:
    return _SELECT_MANY.format(",".join(["(?)"] * count))


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


def write(file: SQLiteFile, changes: Iterable[tuple[bytes, Record | None, Record | None]]) -> None:
    """Write what an operation has changed: keys, with their old and their new records."""
    values, rows, removed = [], [], []
    for key, old, new in changes:
        if new is old:
            continue
        if new is None:
            removed.append((key,))
        elif old is not None and old[1] == new[1]:
            values.append((_number_or_bytes(new[0]), key))
        else:
            rows.append((key, _number_or_bytes(new[0]), _column(new[1])))
    values.sort(key=_last)  # Neighbours are in one page of the file.
    rows.sort(key=_first)
    for statement, some in ((_UPDATE, values), (_UPSERT, rows), (_DELETE, removed)):
        if some:
            file.execute_many(statement, some)


def _column(expires: float) -> float | None:
    return None if expires == NEVER else expires


def _number_or_bytes(value: bytes) -> int | bytes:
    """A counter as a number that SQLite can add to; its bytes are those of the number."""
    number = number_in(value)
    return value if number is None else number
