"""What a store has open: opened once a process, closed at exit, dropped after a fork."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Generic, TypeVar
from weakref import finalize

T = TypeVar("T")

# What a parent had open and could not close before it forked. A child must not touch it, closing
# included (SQLite forbids it, and a server would end the parent's session), so it must not be
# collected either.
_inherited: list[Any] = []


class Opened(Generic[T]):
    """The one file, client or engine that a store has open in this process, if any.

    It is closed with its owner or when the process exits, whichever is first. The owner opens it
    when it is first used, and calls :meth:`take` or :meth:`inherit` in a child after a fork.
    """

    __slots__ = ("_closer", "_of_process", "value")

    def __init__(self) -> None:
        self.value: T | None = None
        """What is open, to be looked at before each use."""
        self._of_process: dict[int, T] = {}
        self._closer: finalize[[T], Any] | None = None

    def put(self, owner: object, value: T, close: Callable[[T], object]) -> T:
        """Keep what was opened; close it again if another thread was faster.

        :param owner: the store; what is open is closed when that is collected.
        :returns: what is open now, the same for all threads.
        """
        # setdefault is atomic: of threads that come here together one wins, without a lock that
        # a fork could copy.
        kept = self._of_process.setdefault(os.getpid(), value)
        if kept is not value:
            close(value)
        elif self._closer is None:
            self._closer = finalize(owner, close, value)
        self.value = kept
        return kept

    def take(self) -> T | None:
        """Forget what is open, without closing it.

        :returns: what was open, for the caller to close or to drop.
        """
        value, self.value = self.value, None
        closer, self._closer = self._closer, None
        self._of_process.clear()
        if closer is not None:
            closer.detach()
        return value

    def close(self, value: T | None = None) -> None:
        """Close what is open, if anything is; the next use opens it anew.

        :param value: leave it open unless it is this.
        """
        if self.value is not None and (value is None or value is self.value):
            self.value = None
            closer, self._closer = self._closer, None
            self._of_process.clear()
            if closer is not None:
                closer()

    def inherit(self) -> None:
        """Forget what a child has from its parent, and keep it from being collected."""
        value = self.take()
        if value is not None:
            _inherited.append(value)
