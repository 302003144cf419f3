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
_FLAG_SECONDS = 0.005

_FLAG = struct.Struct("=d")
_NOT_SET = _FLAG.pack(0)


class FileLock:
    """A lock that one thread of all processes of the host holds at a time.

    A kernel's file lock that blocks has no time-out, so this polls one, with sleeps that are
    random and grow a little: each waiter has about the same chance as a newcomer. A waiter that
    has waited for long sets the fairness flag, in the lock file where all processes see it, and
    the others hold back until that waiter has had the lock::

        A  ─ holds ─ holds ─ holds ─ holds ── (sees the flag, waits) ─────── holds ─
        B  ─ waits ─────────── late: sets the flag ── holds, clears the flag ───────

    The threads of a process queue at a mutex first, and only one of them polls. The kernel frees
    the lock of a process that dies; its fairness flag ends by itself.

    :param path: the lock file; made when it is missing.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._mutex = threading.Lock()
        self._descriptor: int | None = None
        self._flag: mmap.mmap

    @property
    def is_open(self) -> bool:
        """Whether the lock file is open."""
        return self._descriptor is not None

    def acquire(self, timeout: float) -> bool:
        """Wait for the lock.

        :param timeout: how long to wait at most, in seconds.
        :returns: whether this thread holds the lock now.
        :raises OSError: if the lock file cannot be opened.
        """
        began = time.monotonic()
        if not self._mutex.acquire(False) and not self._mutex.acquire(True, timeout):
            return False
        acquired = False
        try:
            if fcntl is None:
                acquired = True
            else:
                if self._descriptor is None:
                    self._open()
                acquired = (self._flag[:] == _NOT_SET and self._try()) or self._wait(
                    began, began + timeout
                )
        finally:
            if not acquired:
                self._mutex.release()
        return acquired

    def release(self) -> None:
        """Let the next waiter have the lock."""
        if fcntl is not None and self._descriptor is not None:
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)
        self._mutex.release()

    def close(self) -> None:
        """Close the lock file, which frees it for other processes; it is opened when needed."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            self._flag.close()
            os.close(descriptor)

    def _wait(self, began: float, deadline: float) -> bool:
        for pause in _pauses():
            now = time.monotonic()
            is_late = now - began > _LATE_SECONDS
            if is_late:
                self._flag[:] = _FLAG.pack(now + _FLAG_SECONDS)
            if (is_late or not self._is_flag_set(now)) and self._try():
                if is_late:
                    self._flag[:] = _NOT_SET
                return True
            if now > deadline:
                return False
            time.sleep(pause) if pause else os.sched_yield()
        raise AssertionError  # pragma: no cover - the pauses never end

    def _is_flag_set(self, now: float) -> bool:
        # The flag ends by the monotonic clock, which all processes of a host share. One from
        # before the host was started again may lie far ahead.
        (until,) = _FLAG.unpack(self._flag[:])
        return bool(now < until < now + 2 * _FLAG_SECONDS)

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
            if os.fstat(descriptor).st_size < _FLAG.size:
                # Written, not only made longer: a hole on a full disk would be a SIGBUS.
                os.pwrite(descriptor, _NOT_SET, 0)
            self._flag = mmap.mmap(descriptor, _FLAG.size)
        except BaseException:
            os.close(descriptor)
            raise
        self._descriptor = descriptor


def _pauses() -> Iterator[float]:
    """The lock is mostly held for less than the shortest sleep: give up the processor first."""
    yield from (0,) * _YIELDS
    longest = _FIRST_SECONDS
    while True:
        yield random.random() * longest
        longest = min(2 * longest, _POLL_SECONDS)
