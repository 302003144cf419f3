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
# Where the fairness flag is in the lock file, and behind it the flag that somebody waits.
_FAIRNESS = slice(0, _FLAG.size)
_WAITED_FOR = slice(_FLAG.size, 2 * _FLAG.size)
_NEITHER = 2 * _NOT_SET


class FileLock:
    """A lock that one thread of all processes of the host holds at a time.

    A kernel's file lock that blocks has no time-out, so this polls one, with sleeps that are
    random and grow a little: each waiter has about the same chance as a newcomer. A waiter that
    has waited for long sets the fairness flag, in the lock file where all processes see it, and
    the others hold back until that waiter has had the lock::

        A  ─ holds ─ holds ─ holds ─ holds ── (sees the flag, waits) ─────── holds ─
        B  ─ waits ─────────── late: sets the flag ── holds, clears the flag ───────

    The threads of a process queue at a mutex first, and only one of them polls. The kernel frees
    the lock of a process that dies; its flags end by themselves.

    SQLite has a lock of its own, which is not fair. There this one is needed only while somebody
    waits; until then :meth:`acquire_alone` saves two calls of the kernel::

        A  ─ alone ─ alone ─ alone ─ (sees that B waits, waits) ── holds ─ … ─ alone ─
        B  ─────────── busy: says that it waits ── holds ──────

    :param path: the lock file; made when it is missing.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._mutex = threading.Lock()
        self._descriptor: int | None = None
        self._flags: mmap.mmap
        self._is_locked = False

    @property
    def is_open(self) -> bool:
        """Whether the lock file is open."""
        return self._descriptor is not None

    @property
    def is_waited_for(self) -> bool:
        """Whether a thread of any process has waited for the lock file, milliseconds ago."""
        return self._descriptor is not None and self._is_set(_WAITED_FOR, time.monotonic())

    def acquire(self, timeout: float) -> bool:
        """Wait for the lock.

        :param timeout: how long to wait at most, in seconds.
        :returns: whether this thread holds the lock now.
        :raises OSError: if the lock file cannot be opened.
        """
        began = time.monotonic()
        if not self._mutex.acquire(False) and not self._mutex.acquire(True, timeout):
            return False
        return self._lock(began, timeout)

    def acquire_alone(self) -> bool:
        """Keep out the other threads of the process, if no process waits for the lock file.

        :returns: whether this thread may try what the lock is for; it has to release the lock.
        """
        if not self._mutex.acquire(False):
            return False
        if self._descriptor is not None and self._flags[:] == _NEITHER:
            return True
        self._mutex.release()
        return False

    def wait(self, timeout: float) -> bool:
        """Wait for the lock file too, after :meth:`acquire_alone`.

        :returns: whether this thread holds the lock now; if not, it has released all of it.
        """
        self.announce()
        return self._lock(time.monotonic(), timeout)

    def announce(self) -> None:
        """Let other processes wait for the lock file, for a few milliseconds."""
        if self._descriptor is not None:
            self._set(_WAITED_FOR, time.monotonic())

    def release(self) -> None:
        """Let the next waiter have the lock."""
        if self._is_locked:
            self._is_locked = False
            assert self._descriptor is not None
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)
        self._mutex.release()

    def close(self) -> None:
        """Close the lock file, which frees it for other processes; it is opened when needed."""
        descriptor, self._descriptor = self._descriptor, None
        self._is_locked = False
        if descriptor is not None:
            self._flags.close()
            os.close(descriptor)

    def _lock(self, began: float, timeout: float) -> bool:
        """Lock the lock file; the mutex is held, and released if that fails."""
        acquired = False
        try:
            if fcntl is None:
                acquired = True
            else:
                if self._descriptor is None:
                    self._open()
                acquired = (not self._is_set(_FAIRNESS, began) and self._try()) or self._wait(
                    began, began + timeout
                )
                if acquired and self._flags[:] != _NEITHER:
                    self._clear_ended(time.monotonic())
        finally:
            if not acquired:
                self._mutex.release()
        return acquired

    def _wait(self, began: float, deadline: float) -> bool:
        for _ in attempts():
            now = time.monotonic()
            self._set(_WAITED_FOR, now)
            is_late = now - began > _LATE_SECONDS
            if is_late:
                self._set(_FAIRNESS, now)
            if (is_late or not self._is_set(_FAIRNESS, now)) and self._try():
                if is_late:
                    self._flags[_FAIRNESS] = _NOT_SET
                return True
            if now > deadline:
                return False
        raise AssertionError  # pragma: no cover - the attempts never end

    def _set(self, flag: slice, now: float) -> None:
        self._flags[flag] = _FLAG.pack(now + _FLAG_SECONDS)

    def _is_set(self, flag: slice, now: float) -> bool:
        stored = self._flags[flag]
        if stored == _NOT_SET:
            return False
        # A flag ends by the monotonic clock, which all processes of a host share. One from
        # before the host was started again may lie far ahead.
        (until,) = _FLAG.unpack(stored)
        return bool(now < until < now + 2 * _FLAG_SECONDS)

    def _clear_ended(self, now: float) -> None:
        """Clear the flags that have ended, one of a process that died among them."""
        for flag in (_FAIRNESS, _WAITED_FOR):
            if not self._is_set(flag, now):
                self._flags[flag] = _NOT_SET

    def _try(self) -> bool:
        assert self._descriptor is not None
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        self._is_locked = True
        return True

    def _open(self) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(self.path, flags, 0o600)
        try:
            if os.fstat(descriptor).st_size < len(_NEITHER):
                # Written, not only made longer: a hole on a full disk would be a SIGBUS.
                os.pwrite(descriptor, _NEITHER, 0)
            self._flags = mmap.mmap(descriptor, len(_NEITHER))
        except BaseException:
            os.close(descriptor)
            raise
        self._descriptor = descriptor


def attempts() -> Iterator[None]:
    """Goes on for ever, with a pause after each: for one who polls a lock that is held shortly."""
    for _ in range(_YIELDS):  # Mostly for less than the shortest sleep.
        yield
        os.sched_yield() if hasattr(os, "sched_yield") else time.sleep(0)
    longest = _FIRST_SECONDS
    while True:
        yield
        time.sleep(random.random() * longest)
        longest = min(2 * longest, _POLL_SECONDS)
