"""The kinds of values that a setting can have: what each accepts, and what it makes of it.

A kind is told from the text of an environment variable as well as from a value of Python.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

CONTROL = re.compile(r"[\x00-\x1f\x7f]")
MAX_PREFIX_BYTES = 128

SIZES = {
    **{"b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12},
    **{"kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30, "tib": 1 << 40},
}
"""Units of a size → bytes."""

DURATIONS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86_400}
"""Units of a duration → seconds."""

YEAR = 365 * 86_400.0
_QUANTITY = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]+)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of values.

    :param name: one word, for the documentation.
    :param takes: what it accepts, for the sentence "it can be …".
    :param read: returns the typed value, or raises :exc:`ValueError`; reads what it has returned
        to the same.
    :param blank: whether empty text, or an empty list, stands for a setting that is not set.
    :param none: whether ``read`` is given ``None``, which otherwise stands for one that is not set.
    """

    name: str
    takes: str
    read: Callable[[Any], Any]
    blank: bool = False
    none: bool = False

    def is_unset(self, value: Any) -> bool:
        """Whether the value stands for the default."""
        if value is None:
            return not self.none
        return self.blank and isinstance(value, (str, list, tuple, dict)) and not value


def anything(takes: str, name: str = "object") -> Kind:
    """Any value: another place checks it, where more is known."""
    return Kind(name, takes, lambda value: value, blank=True)


def text(takes: str = "text") -> Kind:
    """Text as it is."""
    return Kind("text", takes, _instance_of(str), blank=True)


def url(takes: str) -> Kind:
    """The text of a URL, of which the store checks the parts."""
    return Kind("URL", takes, _instance_of(str), blank=True)


def path() -> Kind:
    """A directory, as text or a :class:`pathlib.Path`."""
    return Kind(
        "path", "a directory, as text or a pathlib.Path", _instance_of(str, os.PathLike), True
    )


def mapping() -> Kind:
    """A dictionary."""
    return Kind("mapping", "a dictionary", _instance_of(Mapping), blank=True)


def texts() -> Kind:
    """A list of text, or the only one in it."""

    def read(value: Any) -> list[str]:
        if isinstance(value, str):
            return [value]
        if isinstance(value, (list, tuple)) and all(isinstance(item, str) for item in value):
            return list(value)
        raise ValueError

    return Kind("list", "a list of text", read, blank=True)


def flag() -> Kind:
    """True or false; 1 and 0 are the same."""

    def read(value: Any) -> bool:
        if isinstance(value, (int, float)) and value in (False, True):
            return bool(value)
        raise ValueError

    return Kind("flag", "true or false", read)


def choice(*options: str) -> Kind:
    """One of the options."""

    def read(value: Any) -> str:
        if isinstance(value, str) and value in options:
            return value
        raise ValueError

    return Kind("choice", " or ".join(options), read, blank=True)


def integer(least: int, most: int | None = None) -> Kind:
    """An integer within its bounds, and no text of one."""
    takes = f"an integer of at least {least}" + (f" and at most {most}" if most else "")

    def read(value: Any) -> int:
        if type(value) is not int or value < least or (most is not None and value > most):
            raise ValueError
        return value

    return Kind("integer", takes, read)


def count(most: int | None = None) -> Kind:
    """How many: an integer or the text of one."""
    of_integer = integer(0, most)

    def read(value: Any) -> int:
        if isinstance(value, (str, float)):
            value = int(value)
        found: int = of_integer.read(value)
        return found

    return Kind("integer", of_integer.takes, read, blank=True)


def size() -> Kind:
    """A positive number of bytes: ``1000``, ``"64KiB"``, ``"1.5 MB"``.

    ``kB``, ``MB`` and ``GB`` are powers of 1000, ``KiB``, ``MiB`` and ``GiB`` of 1024; upper and
    lower case are the same.
    """

    def read(value: Any) -> int:
        number = int(_quantity(value, SIZES))
        if number < 1:
            raise ValueError
        return number

    return Kind("size", "a positive number of bytes, or text such as 64KiB or 1mb", read)


def duration(*, most: float = 10 * YEAR, zero: bool = False) -> Kind:
    """Seconds: ``2``, ``0.5``, ``"500ms"``, ``"5m"``, a :class:`datetime.timedelta`.

    :param most: the longest, in seconds.
    :param zero: whether 0 is one too.
    """
    takes = (
        f"{'0 or ' if zero else ''}a positive number of seconds, at most "
        f"{most / YEAR:.0f} years, or text such as 30s, 5m or 500ms"
    )

    def read(value: Any) -> float:
        if isinstance(value, timedelta):
            value = value.total_seconds()
        seconds = _quantity(value, DURATIONS)
        if not (0 < seconds <= most or (zero and seconds == 0)):
            raise ValueError
        return float(seconds)

    return Kind("duration", takes, read)


def key_prefix() -> Kind:
    """Text that begins each key; ``None`` is none."""

    def read(value: Any) -> str:
        if value is None:
            return ""
        # An invalid surrogate raises UnicodeEncodeError, which is a ValueError.
        if not isinstance(value, str) or len(value.encode()) > MAX_PREFIX_BYTES:
            raise ValueError
        if CONTROL.search(value):
            raise ValueError
        return value

    takes = f"text of at most {MAX_PREFIX_BYTES} bytes without control characters"
    return Kind("text", takes, read, none=True)


def _instance_of(*types: type) -> Callable[[Any], Any]:
    def read(value: Any) -> Any:
        if not isinstance(value, types):
            raise ValueError
        return value

    return read


def _quantity(value: Any, units: Mapping[str, float]) -> int | float:
    """A number, or the one that a text says, with or without a unit."""
    if isinstance(value, str):
        value = _number(value.strip().lower(), units)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ValueError
    return value


def _number(written: str, units: Mapping[str, float]) -> int | float:
    try:
        return int(written)
    except ValueError:
        pass
    if found := _QUANTITY.fullmatch(written):
        if found[2] not in units:
            raise ValueError
        unit = units[found[2]]
        return float(found[1]) * unit if "." in found[1] else int(found[1]) * unit
    return float(written)
