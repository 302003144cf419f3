"""What callers may pass: keys, timeouts and integers, and what stands for no value."""

from __future__ import annotations

import math
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final, TypeAlias

from ..errors import InvalidKey
from ..settings import CONTROL
from ..stores.operations import COUNTER_MAX, COUNTER_MIN, Increment

Timeout: TypeAlias = float | timedelta | None

MAX_KEY_BYTES = 250
MAX_TIMEOUT = 100 * 365 * 24 * 3600.0
MIN_TIMEOUT = 0.001


class Absent:
    """The type of :data:`ABSENT`."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "ABSENT"

    def __bool__(self) -> bool:
        return False

    def __reduce__(self) -> str:
        return "ABSENT"

    def __copy__(self) -> Absent:
        return self

    def __deepcopy__(self, memo: Any) -> Absent:
        return self


ABSENT: Final = Absent()
"""Stands for "there is no value", where ``None`` is a value like any other."""


def checked_key(key: str) -> bytes:
    """The key's UTF-8 bytes.

    :raises InvalidKey: saying what is wrong with it.
    """
    if not isinstance(key, str):
        raise InvalidKey(f"a key must be text, not {type(key).__name__}")
    if not key:
        raise InvalidKey("a key must not be empty")
    if CONTROL.search(key):
        raise InvalidKey(f"the key {key[:50]!r} contains a control character")
    try:
        raw = key.encode()
    except UnicodeEncodeError as error:
        raise InvalidKey(f"the key {key[:50]!r} is not valid Unicode") from error
    if len(raw) > MAX_KEY_BYTES:
        raise InvalidKey(
            f"the key {key[:50]!r}… has {len(raw)} UTF-8 bytes; at most {MAX_KEY_BYTES} are allowed"
        )
    return raw


def checked_namespace(name: str) -> str:
    """The name of a namespace, if it can stand before keys and be told from them.

    :raises InvalidKey: if it is empty, or has a colon or a control character.
    """
    if not isinstance(name, str) or not name or ":" in name or CONTROL.search(name):
        raise InvalidKey(
            "the name of a namespace is text without colons and control characters, and not empty, "
            f"not {name!r:.50}"
        )
    return name


def checked_seconds(timeout: float | timedelta) -> float:
    """A timeout in seconds: 0 for ever, or from a millisecond to a hundred years.

    :raises TypeError: if it is not a number or a ``timedelta``.
    :raises ValueError: if it is negative or longer.
    """
    if isinstance(timeout, timedelta):
        timeout = timeout.total_seconds()
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)):
        raise TypeError(f"a timeout is a number of seconds, not {type(timeout).__name__}")
    if not 0 <= timeout <= MAX_TIMEOUT or math.isnan(timeout):
        raise ValueError(
            f"a timeout is 0, for ever, or up to {MAX_TIMEOUT:,.0f} seconds, not {timeout!r}"
        )
    return max(float(timeout), MIN_TIMEOUT) if timeout else 0.0


def checked_integer(name: str, number: int) -> int:
    """The number, if it is a signed 64-bit integer.

    :raises TypeError: if it is not an ``int``.
    :raises ValueError: if it is longer. Both name it as ``name``.
    """
    if type(number) is not int:
        raise TypeError(f"{name} must be an int, not {type(number).__name__}")
    if not COUNTER_MIN <= number <= COUNTER_MAX:
        raise ValueError(f"{name} must be a signed 64-bit integer, not {number}")
    return number


def checked_count(name: str, number: int) -> int:
    """Like :func:`checked_integer`, for what counters have; says what to do about a fraction."""
    if isinstance(number, (float, Decimal, Fraction)):
        raise TypeError(
            f"{name} must be an int, not {type(number).__name__}: count in the smallest unit, such "
            "as cents, or change the value by update()"
        )
    return checked_integer(name, number)


def checked_increment(
    default_timeout: float,
    delta: int,
    initial: int,
    timeout: Timeout,
    minimum: int | None,
    maximum: int | None,
) -> Increment:
    """The operation for the arguments of :meth:`State.inc`, each of them checked.

    It may be used any number of times.

    :param default_timeout: in seconds, what ``timeout=None`` means.
    """
    return Increment(
        checked_count("delta", delta),
        checked_count("initial", initial),
        default_timeout if timeout is None else checked_seconds(timeout),
        COUNTER_MIN if minimum is None else checked_count("minimum", minimum),
        COUNTER_MAX if maximum is None else checked_count("maximum", maximum),
    )
