"""What is taken from a cursor after a statement."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Fetch = Callable[[Any], Any]


def count(cursor: Any) -> int:
    """How many rows a statement found or changed."""
    number: int = cursor.rowcount
    return number


def rows(cursor: Any) -> list[Any]:
    """All rows that a statement returns: a cursor left open leaves its lock."""
    found: list[Any] = cursor.fetchall()
    return found
