"""A lock among the threads and processes of a host that ends with its holder and can time out."""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows: what the lock orders has to wait by itself.
    fcntl = None  # type: ignore[assignment]

_YIELDS = 5
_FIRST_SECONDS = 0.0001
_POLL_SECONDS = 0.0007


class Turn:
    """Whose turn it is to write.

    A kernel's file lock that blocks has no time-out, so this polls one, with sleeps that are
    short and random: whoever waits has the same chance as whoever comes. The threads of a process
    queue at a mutex first, and only one of them polls. The kernel frees the lock of a process
    that dies.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._mutex = threading.Lock()
        self._descriptor: int | None = None

    def take(self, timeout: float) -> bool:
        """Wait up to ``timeout`` seconds for the turn; answers whether it is ours now.

        :raises OSError: if the lock file cannot be opened.
        """
        began = time.monotonic()
        if not self._mutex.acquire(False) and not self._mutex.acquire(True, timeout):
            return False
        taken = False
        try:
            taken = self._lock(began + timeout)
        finally:
            if not taken:
                self._mutex.release()
        return taken

    def end(self) -> None:
        """Let the next one in."""
        if fcntl is not None and self._descriptor is not None:
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)
        self._mutex.release()

    def close(self) -> None:
        """Close the lock file, which gives up the turn; it is opened again when needed."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def _lock(self, deadline: float) -> bool:
        if self._descriptor is None:
            self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        for pause in _pauses():
            if fcntl is None:
                return True
            try:
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return True
            except BlockingIOError:
                if time.monotonic() > deadline:
                    return False
            time.sleep(pause) if pause else os.sched_yield()
        raise AssertionError  # pragma: no cover - the pauses never end


def _pauses() -> Iterator[float]:
    """A turn mostly takes less time than the shortest sleep, so give up the processor first."""
    yield from (0,) * _YIELDS
    longest = _FIRST_SECONDS
    while True:
        yield random.random() * longest
        longest = min(2 * longest, _POLL_SECONDS)
