"""Counters among the values of records, for stores that keep them as numbers."""

from __future__ import annotations

from ..operations import COUNTER_MAX, COUNTER_MIN

_DIGITS = len(b"-9223372036854775808")


def number_in(value: bytes) -> int | None:
    """The number of a counter, if the bytes are exactly its decimal text; else ``None``."""
    if len(value) <= _DIGITS and value.removeprefix(b"-").isdigit():
        number = int(value)
        if COUNTER_MIN <= number <= COUNTER_MAX and b"%d" % number == value:
            return number
    return None
