"""A lock among the threads and processes of a host that ends with its holder and can time out."""

from __future__ import annotations

import mmap
import os
import random
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows: what the lock orders has to wait by itself.
    fcntl = None  # type: ignore[assignment]

_YIELDS = 3
_FIRST_SECONDS = 0.0002
_POLL_SECONDS = 0.004
_LATE_SECONDS = 0.1
_SIGN_SECONDS = 0.005

_SIGN = struct.Struct("=d")
_NOBODY = _SIGN.pack(0)


class Turn:
    """Whose turn it is to write.

    A kernel's file lock that blocks has no time-out, so this polls one, with sleeps that are
    random and grow a little: whoever waits has about the chance of whoever comes. Who has had no
    luck for long puts up a sign, in the lock file for all to see, and the others hold back until
    it has had its turn::

        A  ─ turn ─ turn ─ turn ─ turn ── (sees the sign, waits) ──────── turn ─
        B  ─ waits ──────── late: puts up the sign ── turn, takes it down ─────

    The threads of a process queue at a mutex first, and only one of them polls. The kernel frees
    the lock of a process that dies; its sign ends by itself.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._mutex = threading.Lock()
        self._descriptor: int | None = None
        self._sign: mmap.mmap

    @property
    def is_open(self) -> bool:
        """Whether the lock file is open."""
        return self._descriptor is not None

    def take(self, timeout: float) -> bool:
        """Wait up to ``timeout`` seconds for the turn; answers whether it is ours now.

        :raises OSError: if the lock file cannot be opened.
        """
        began = time.monotonic()
        if not self._mutex.acquire(False) and not self._mutex.acquire(True, timeout):
            return False
        taken = False
        try:
            if fcntl is None:
                taken = True
            else:
                if self._descriptor is None:
                    self._open()
                taken = (self._sign[:] == _NOBODY and self._try()) or self._wait(
                    began, began + timeout
                )
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
            self._sign.close()
            os.close(descriptor)

    def _wait(self, began: float, deadline: float) -> bool:
        for pause in _pauses():
            now = time.monotonic()
            is_late = now - began > _LATE_SECONDS
            if is_late:
                self._sign[:] = _SIGN.pack(now + _SIGN_SECONDS)
            if (is_late or not self._somebody_is_late(now)) and self._try():
                if is_late:
                    self._sign[:] = _NOBODY
                return True
            if now > deadline:
                return False
            time.sleep(pause) if pause else os.sched_yield()
        raise AssertionError  # pragma: no cover - the pauses never end

    def _somebody_is_late(self, now: float) -> bool:
        # Signs end by the monotonic clock, which all processes of a host share. One from before
        # the host was started again may lie far ahead.
        (until,) = _SIGN.unpack(self._sign[:])
        return bool(now < until < now + 2 * _SIGN_SECONDS)

    def _try(self) -> bool:
        assert self._descriptor is not None
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            return False

    def _open(self) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(self.path, flags, 0o600)
        try:
            if os.fstat(descriptor).st_size < _SIGN.size:
                # Written, not only made longer: a hole on a full disk would be a SIGBUS.
                os.pwrite(descriptor, _NOBODY, 0)
            self._sign = mmap.mmap(descriptor, _SIGN.size)
        except BaseException:
            os.close(descriptor)
            raise
        self._descriptor = descriptor


def _pauses() -> Iterator[float]:
    """A turn mostly takes less time than the shortest sleep, so give up the processor first."""
    yield from (0,) * _YIELDS
    longest = _FIRST_SECONDS
    while True:
        yield random.random() * longest
        longest = min(2 * longest, _POLL_SECONDS)
