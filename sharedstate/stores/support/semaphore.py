"""A semaphore on which no waiter starves."""

from __future__ import annotations

import threading
from collections import deque


class FairSemaphore:
    """A semaphore that is given in the order of asking, among the threads of a process.

    One of :mod:`threading`, or a queue, wakes the first waiter, which often finds that another
    thread or greenlet, one that never waited, was there before it. Here a release hands the
    semaphore to the waiter itself.

    :param number: how many may hold it at once.
    """

    def __init__(self, number: int) -> None:
        self._free = number
        self._waiters: deque[threading.Lock] = deque()
        self._mutex = threading.Lock()

    def acquire(self, timeout: float) -> bool:
        """Wait for the semaphore.

        :param timeout: how long to wait at most, in seconds.
        :returns: whether it was acquired.
        """
        with self._mutex:
            if self._free:
                self._free -= 1
                return True
            given = threading.Lock()
            given.acquire()
            self._waiters.append(given)
        try:
            if given.acquire(timeout=timeout):
                return True
        except BaseException:
            if not self._give_up(given):
                self.release()
            raise
        return not self._give_up(given)

    def release(self) -> None:
        """Hand the semaphore to the first waiter, if there is one."""
        with self._mutex:
            if self._waiters:
                self._waiters.popleft().release()
            else:
                self._free += 1

    def _give_up(self, given: threading.Lock) -> bool:
        """Wait no longer; returns ``False`` if the semaphore was given at the last moment."""
        with self._mutex:
            try:
                self._waiters.remove(given)
            except ValueError:
                return False
            return True
