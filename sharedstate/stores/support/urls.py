"""A bounded number of places that are given in the order of asking."""

from __future__ import annotations

import threading
from collections import deque


class Places:
    """As a semaphore, on which nobody starves: who leaves hands the place to whoever came first.

    A semaphore or a queue wakes the first one that waits, who often finds that another thread or
    greenlet, which never waited, was there before it.
    """

    def __init__(self, number: int) -> None:
        self._free = number
        self._waiting: deque[threading.Lock] = deque()
        self._mutex = threading.Lock()

    def enter(self, timeout: float) -> bool:
        """Wait up to ``timeout`` seconds for a place; answers whether there was one."""
        with self._mutex:
            if self._free:
                self._free -= 1
                return True
            given = threading.Lock()
            given.acquire()
            self._waiting.append(given)
        try:
            if given.acquire(timeout=timeout):
                return True
        except BaseException:
            if not self._give_up(given):
                self.leave()
            raise
        return not self._give_up(given)

    def leave(self) -> None:
        """Hand the place on."""
        with self._mutex:
            if self._waiting:
                self._waiting.popleft().release()
            else:
                self._free += 1

    def _give_up(self, given: threading.Lock) -> bool:
        """Wait no longer; answers ``False`` if the place was given at the last moment."""
        with self._mutex:
            try:
                self._waiting.remove(given)
            except ValueError:
                return False
            return True
