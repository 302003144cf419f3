"""The operations in SQL: what is one statement, and the transaction that everything else is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from ...errors import SharedStateError
from ..base import Clock
from ..operations import (
    COUNTER_MAX,
    COUNTER_MIN,
    KEEP,
    NEVER,
    Add,
    Increment,
    Operation,
    Put,
    Record,
    Remove,
    Swap,
    Touch,
    expiry,
)
from ..support.counters import number_in
from ..support.sqlite_damage import Damaged, checked_rows
from .dialects.base import LIVE
from .engine import Connection, Database
from .errors import Conflict
from .fetch import rows

MISS: Final[Any] = object()
"""What a statement returns that did nothing, where it takes a transaction to say more."""

_COLLECTED = 64

_SELECT = "SELECT name, value, number, expires FROM {{table}} WHERE {}"
_SIZES = f"SELECT name, length(value) FROM {{{{table}}}} WHERE {{}} AND {LIVE}"
_DELETE = "DELETE FROM {{table}} WHERE {}"
_TOUCH = f"UPDATE {{table}} SET expires = ? WHERE name = ? AND {LIVE}"
_REMOVE = f"DELETE FROM {{table}} WHERE name = ? AND {LIVE}"
_SAME = {True: f"name = ? AND number = ? AND {LIVE}", False: f"name = ? AND value = ? AND {LIVE}"}
_REPLACE = "UPDATE {{table}} SET value = ?, number = ? WHERE {}"
_RENEW = "UPDATE {{table}} SET value = ?, number = ?, expires = ? WHERE {}"
_ROWS = "SELECT name, expires FROM {table} WHERE name >= ? AND name < ? ORDER BY name LIMIT ?"
_EXPIRED = f"SELECT name FROM {{table}} WHERE expires <= ? ORDER BY expires LIMIT {_COLLECTED}"
_STILL_EXPIRED = "SELECT name FROM {{table}} WHERE {} AND expires <= ?"

# A row that nobody else sees, which keeps others from making one while the transaction lasts.
_PLACE: Record = (b"", 0.0)


def read(database: Database, keys: Sequence[bytes], clock: Clock) -> list[Record | None]:
    """The live records of ``keys`` at one moment."""
    if len(keys) > database.dialect.most_names:
        with database.connection() as connection:
            connection.begin()
            found = _rows(connection, keys)
    else:
        condition, arguments = database.dialect.among(keys)
        found = {row[0]: row for row in database.read(_SELECT.format(condition), arguments)}
    now = clock()
    try:
        return [_live(found.get(key), now) for key in keys]
    except Damaged as error:
        raise database.explained(error) from error


def page_rows(database: Database, bounds: Sequence[Any]) -> Sequence[Any]:
    """The names and expiries of the first rows of a range."""
    try:
        return checked_rows(database.read(_ROWS, bounds))
    except Damaged as error:
        raise database.explained(error) from error


def sizes(database: Database, keys: Sequence[bytes], now: float) -> list[int]:
    """How many bytes the values of ``keys`` have; 0 for a counter, which has few."""
    most = database.dialect.most_names
    found: dict[bytes, int] = {}
    for start in range(0, len(keys), most):
        condition, arguments = database.dialect.among(keys[start : start + most])
        for name, size in database.read(_SIZES.format(condition), (*arguments, now)):
            found[name] = size or 0
    return [found.get(key, 0) for key in keys]


def transaction(
    database: Database, keys: Sequence[bytes], operation: Operation, clock: Clock
) -> Any:
    """The operation's result, its records written.

    The rows are locked in the order of their names, and then those that are missing are inserted
    in that order, so that no two transactions wait for each other. Where another client was first
    to insert one, this one begins again; so it does where the operation refuses, as that would
    have been decided without the row::

        client 1   locks the counter ··· increments it, inserts the token, commits
        client 2       finds no token, waits for the counter ·············· finds it incremented
    """
    with database.connection() as connection:
        connection.begin()
        names = sorted(keys)
        found = _rows(connection, names, database.dialect.lock)
        now = clock()
        before = [_live(found.get(key), now) for key in keys]
        try:
            after, result = operation(before, now)
        except SharedStateError:
            if len(keys) > 1:
                _check_missing(connection, [name for name in names if name not in found])
            raise
        changes = {
            key: new for key, old, new in zip(keys, before, after, strict=True) if new is not old
        }
        # Of several keys, one that stays missing has to be so until the end. One alone is seen
        # to be missing, and that is all.
        missing = [
            name for name in names if name not in found and (len(keys) > 1 or changes.get(name))
        ]
        _insert(connection, [_row(name, changes.get(name) or _PLACE) for name in missing])
        if changes:
            kept = {name: new for name, new in changes.items() if new and name in found}
            rewrite = connection.dialect.rewrite
            connection.execute_many(*rewrite([_row(name, kept[name]) for name in sorted(kept)]))
            gone = [name for name in names if name in changes and not changes[name]]
            places = [name for name in missing if not changes.get(name)]
            _delete(connection, sorted({*places, *(name for name in gone if name in found)}))
            connection.commit()
        return result


def collect(database: Database, now: float) -> None:
    """Remove a few records that have expired, and wait for none that is in use."""
    names = [name for (name,) in database.read(_EXPIRED, (now,))]
    if not names:
        return
    condition, arguments = database.dialect.among(names)
    statement = _STILL_EXPIRED.format(condition) + database.dialect.skip_locked
    with database.connection() as connection:
        connection.begin()
        expired = connection.execute(statement, (*arguments, now), rows)
        _delete(connection, sorted(name for (name,) in expired))
        connection.commit()


# What is one statement.


def _put(database: Database, key: bytes, put: Put, now: float) -> None:
    database.write(database.dialect.put, _row(key, (put.value, expiry(put.timeout, now))))


def _add(database: Database, key: bytes, put: Add, now: float) -> Any:
    if database.dialect.add is None:
        return MISS
    row = _row(key, (put.value, expiry(put.timeout, now)))
    return bool(database.write(database.dialect.add, (*row, now)))


def _remove(database: Database, key: bytes, remove: Remove, now: float) -> bool:
    return bool(database.write(_REMOVE, (key, now)))


def _touch(database: Database, key: bytes, touch: Touch, now: float) -> bool:
    expires = _column(expiry(touch.timeout, now))
    return bool(database.write(_TOUCH, (expires, key, now)))


def _increment(database: Database, key: bytes, increment: Increment, now: float) -> Any:
    delta, low, high = increment.delta, increment.minimum, increment.maximum
    first = increment.initial + delta
    if not low <= first <= high:
        return MISS
    expires = _column(expiry(increment.timeout, now))
    low, high = max(low - delta, COUNTER_MIN), min(high - delta, COUNTER_MAX)
    dialect = database.dialect
    arguments = dialect.increment_arguments(key, first, expires, delta, low, high)
    number = database.write(dialect.increment, (*arguments, now), dialect.incremented)
    return MISS if number is None else number


def _swap(database: Database, key: bytes, swap: Swap, now: float) -> Any:
    if swap.expected is None:
        return _swap_in(database, key, swap, now)
    expected = number_in(swap.expected)
    same = _SAME[expected is not None]
    where = (key, swap.expected if expected is None else expected, now)
    if swap.value is None:
        swapped = database.write(_DELETE.format(same), where)
    else:
        columns = _columns((swap.value, expiry(swap.timeout, now)))
        if swap.timeout == KEEP:
            swapped = database.write(_REPLACE.format(same), (*columns[:2], *where))
        else:
            swapped = database.write(_RENEW.format(same), (*columns, *where))
    return (True, swap.expected) if swapped else MISS


def _swap_in(database: Database, key: bytes, swap: Swap, now: float) -> Any:
    if swap.value is None:
        return MISS
    timeout = swap.default_timeout if swap.timeout == KEEP else swap.timeout
    return (True, None) if _add(database, key, Add(swap.value, timeout), now) is True else MISS


STATEMENTS: dict[type[Operation], Callable[[Database, bytes, Any, float], Any]] = {
    Put: _put,
    Add: _add,
    Remove: _remove,
    Touch: _touch,
    Increment: _increment,
    Swap: _swap,
}


# Rows and records.


def _rows(connection: Connection, names: Sequence[bytes], lock: str = "") -> dict[bytes, Any]:
    most = connection.dialect.most_names
    found = {}
    for start in range(0, len(names), most):
        condition, arguments = connection.dialect.among(names[start : start + most])
        for row in connection.execute(_SELECT.format(condition) + lock, arguments, rows):
            found[row[0]] = row
    return found


def _check_missing(connection: Connection, names: Sequence[bytes]) -> None:
    """Raise :exc:`Conflict` if one of these was inserted since it was looked for.

    Under READ COMMITTED each statement sees what is committed when it begins; one that waits for a
    lock returns the newest version of the locked row beside an older state of all others.
    """
    if names and connection.dialect.lock and _rows(connection, names):
        raise Conflict("another client has made the record")


def _insert(connection: Connection, fresh: Sequence[Any]) -> None:
    if connection.execute_many(connection.dialect.insert, fresh) != len(fresh):
        raise Conflict("another client has made the record")


def _delete(connection: Connection, names: Sequence[bytes]) -> None:
    most = connection.dialect.most_names
    for start in range(0, len(names), most):
        condition, arguments = connection.dialect.among(names[start : start + most])
        connection.execute(_DELETE.format(condition), arguments)


def _live(row: Any, now: float) -> Record | None:
    """The record of a row, unless it has expired."""
    if row is None:
        return None
    _, value, number, expires = row
    # Only a damaged SQLite file has other types.
    if type(value) is not bytes and (value is not None or type(number) is not int):
        raise Damaged("it has a value that is none")
    try:
        if expires is not None and expires <= now:
            return None
    except TypeError:
        raise Damaged("it has an expiry that is none") from None
    return b"%d" % number if value is None else value, NEVER if expires is None else expires


def _row(key: bytes, record: Record) -> tuple[Any, ...]:
    return key, *_columns(record)


def _columns(record: Record) -> tuple[Any, Any, Any]:
    value, expires = record
    number = number_in(value)
    return value if number is None else None, number, _column(expires)


def _column(expires: float) -> float | None:
    return None if expires == NEVER else expires
