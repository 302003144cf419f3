"""One thread of clients: its random numbers, and what it remembers."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

from .calls import Call

REMEMBERED = 100

Keys = Sequence[str]


class Client:
    """What a thread makes its calls of.

    :param me: a number that no other thread has.
    """

    def __init__(self, seed: str, me: int) -> None:
        self.rng = random.Random(seed)
        self.seen: dict[str, Any] = {}
        """What it last read, by key."""
        self._me = me
        self._made = 0

    def fresh(self) -> Any:
        """A value that nobody else makes: mostly a number, so that there is something to count."""
        self._made += 1
        number = self._me * 1_000_000 + self._made
        return number if self.rng.random() < 0.9 else f"text {number}"

    def delta(self) -> int:
        return self.rng.choice([1, 1, 1, 2, -1])

    def saw(self, key: str, value: Any) -> None:
        if len(self.seen) > REMEMBERED:
            self.seen.clear()
        self.seen[key] = value


Make = Callable[[Client, Keys, Keys], Call]
"""Makes a call for a client, of two keys, and of all keys that there are."""

Table = dict[str, tuple[int, Make]]
"""How often each operation is done among the others, and what makes a call of it."""


def table() -> tuple[Callable[[int, str], Callable[[Make], Make]], Table]:
    """An empty table, and a decorator that puts an operation into it."""
    found: Table = {}

    def often(weight: int, name: str) -> Callable[[Make], Make]:
        def note(make: Make) -> Make:
            found[name] = weight, make
            return make

        return note

    return often, found
