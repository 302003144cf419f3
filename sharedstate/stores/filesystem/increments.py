"""The commonest operation of all, in one statement."""

from __future__ import annotations

from functools import lru_cache

from ..operations import COUNTER_MAX, COUNTER_MIN, Increment
from .sqlite_file import SQLiteFile

# It returns no row, and does nothing, where the record has expired, is no counter, or would leave
# its bounds.
_INCREMENT = (
    "INSERT INTO entries VALUES (?, ?, ?) ON CONFLICT (key) DO UPDATE SET value = value + ? "
    "WHERE typeof(value) = 'integer' AND value BETWEEN ? AND ? "
    "AND (expires IS NULL OR expires > ?) RETURNING value"
)


def increment(file: SQLiteFile, key: bytes, operation: Increment, now: float) -> int | None:
    """The new number, or ``None`` if it takes a whole transaction to say what is wrong."""
    first, delta, low, high = _arguments(operation)
    if first is None:
        return None
    expires = now + operation.timeout if operation.timeout else None
    rows = file.write(_INCREMENT, (key, first, expires, delta, low, high, now))
    return rows[0][0] if rows else None


@lru_cache(maxsize=256)  # Callers repeat their operations, which the keyspace keeps for them.
def _arguments(operation: Increment) -> tuple[int | None, int, int, int]:
    """The number of a new counter, if it may be that; the delta, and what it may be added to."""
    delta, low, high = operation.delta, operation.minimum, operation.maximum
    first = operation.initial + delta
    from_, to = max(low - delta, COUNTER_MIN), min(high - delta, COUNTER_MAX)
    return first if low <= first <= high else None, delta, from_, to
