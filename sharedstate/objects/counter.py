"""A counter as an object."""

from __future__ import annotations

from collections.abc import Callable

from ..keyspace.arguments import Timeout
from ..state import State


class Counter:
    """A number of which no two callers get the same: ``next(counter)`` is 1, 2, 3, …

    The number is under the key that is its name, as ``cache.inc(name)`` has it.

    :param state: returns the state that holds it; asked at each use.
    :param name: the key.
    :param initial: what it starts from.
    :param minimum: the lowest that it may be, unless ``None``.
    :param maximum: the highest that it may be, unless ``None``.
    :param timeout: seconds from its creation until it starts anew; 0: never; ``None``: the default.
    """

    def __init__(
        self,
        state: Callable[[], State],
        name: str,
        *,
        initial: int = 0,
        minimum: int | None = None,
        maximum: int | None = None,
        timeout: Timeout = None,
    ) -> None:
        self.name = name
        self.initial = initial
        self._state = state
        self._minimum = minimum
        self._maximum = maximum
        self._timeout = timeout

    def inc(self, delta: int = 1, *, once: str | None = None) -> int:
        """Add to it, atomically among all that share the store.

        :param delta: what is added; may be negative.
        :param once: a token with which the increment is applied one time, however often it comes.
        :returns: the new number; no two callers get the same.
        :raises OutOfBounds: if that would be out of bounds; the number stays.
        """
        return self._state().inc(
            self.name,
            delta,
            initial=self.initial,
            minimum=self._minimum,
            maximum=self._maximum,
            timeout=self._timeout,
            once=once,
        )

    def dec(self, delta: int = 1, *, once: str | None = None) -> int:
        """Subtract from it, atomically among all that share the store.

        :param delta: what is subtracted. ``once`` is as for :meth:`inc`, and so are the errors.
        :returns: the new number.
        """
        return self.inc(-delta, once=once)

    @property
    def value(self) -> int:
        """The present number."""
        number: int = self._state().get(self.name, self.initial)
        return number

    def reset(self) -> None:
        """Start anew: the next number is the first one."""
        self._state().delete(self.name)

    def __iter__(self) -> Counter:
        return self

    def __next__(self) -> int:
        return self.inc()

    def __int__(self) -> int:
        return self.value

    def __repr__(self) -> str:
        return f"<shared counter {self.name!r}>"
