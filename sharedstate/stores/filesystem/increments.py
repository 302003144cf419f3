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
_SWAP = (
    "UPDATE entries SET value = ? WHERE key = ? AND value = ? AND (expires IS NULL OR expires > ?)"
)
_MAX_KEYS = 1000


class Increments:
    """Increments of one process.

    Where a process alone increments a counter, it knows what the number is. To replace that number,
    if it is still there, takes a quarter less time than to have the new one returned; to fail in it
    takes a third more. So it is tried as long as nobody else comes between::

        this process   returned 5 ── returned 6 ── swaps 6 for 7 ────────── fails, returned 9
        another one    ─────────────────────────────────────────── returned 8 ──────────────
    """

    def __init__(self) -> None:
        self._returned: dict[bytes, int] = {}
        """What this process was returned last; by key."""
        self._known: dict[bytes, int] = {}
        """The same, where nobody else came between the last two."""

    def apply(self, file: SQLiteFile, key: bytes, operation: Increment, now: float) -> int | None:
        """The new number, or ``None`` if it takes a whole transaction to say what is wrong."""
        first, delta, low, high = _arguments(operation)
        if first is None:
            return None
        known = self._known.get(key)
        if known is not None and low <= known <= high:
            number = known + delta
            if file.write(_SWAP, (number, key, known, now))[1]:
                self._known[key] = number
                return number
            self._known.pop(key, None)
        expires = now + operation.timeout if operation.timeout else None
        rows, _ = file.write(_INCREMENT, (key, first, expires, delta, low, high, now))
        if not rows:
            return None
        new: int = rows[0][0]
        self._note(key, new, delta)
        return new

    def _note(self, key: bytes, number: int, delta: int) -> None:
        if self._returned.get(key) == number - delta:
            self._known[key] = number
        if len(self._returned) >= _MAX_KEYS:
            self._returned.clear()
            self._known.clear()
        self._returned[key] = number


@lru_cache(maxsize=256)  # Callers repeat their operations, which the keyspace keeps for them.
def _arguments(operation: Increment) -> tuple[int | None, int, int, int]:
    """The number of a new counter, if it may be that; the delta, and what it may be added to."""
    delta, low, high = operation.delta, operation.minimum, operation.maximum
    first = operation.initial + delta
    from_, to = max(low - delta, COUNTER_MIN), min(high - delta, COUNTER_MAX)
    return first if low <= first <= high else None, delta, from_, to
