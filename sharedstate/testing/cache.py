"""A cache for one test, and time that stands still."""

from __future__ import annotations

from typing import Any

from flask import Flask

from ..cache import Cache

_BEGINNING = 1_800_000_000.0


class Clock:
    """A time in seconds since the epoch that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = _BEGINNING

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        """Move the time on, without waiting.

        :param seconds: how far.
        """
        self.now += seconds


def stop_clock(app: Flask) -> Clock:
    """Return a clock that an application's store looks at from now on.

    What is stored expires by it. The stores in this process do so: ``simple``, ``filesystem`` and
    ``lmdb``. What waits, as for a lock, waits in real time.

    :param app: has a ``Cache``; of several, it is the clock of the first.
    :returns: the clock, which stands still until it is moved by :meth:`Clock.advance`.
    """
    clock = Clock()
    app.extensions["sharedstate"].state.store.clock = clock
    return clock


class MemoryCache(Cache):
    """A ``Cache`` in the memory of the test, whose time stands still.

    It works without an application. One that it is given by ``init_app`` has its state in memory
    too, whatever its settings say, and another one than the cache had before.
    """

    def __init__(self) -> None:
        self.clock = Clock()
        """Moves the time: ``shared_cache.clock.advance(60)``."""
        super().__init__()
        self._own = Flask(__name__)
        self.init_app(self._own)

    def init_app(self, app: Flask, config: dict[str, Any] | None = None) -> None:
        self._apps.discard(self._own)
        super().init_app(app, {**(config or {}), "CACHE_TYPE": "simple", "CACHE_URL": ""})
        app.extensions["cache"][self].state.store.clock = self.clock
