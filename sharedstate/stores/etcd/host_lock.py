"""A lock among the processes of a host, under which they change keys that several of them change.

Without it each of them would lose every other time to another one, and a transaction that is
refused costs etcd as much as one that is applied::

    A   reads at 7, applied at 8 ── reads, refused: 9 ── applied at 10
    B   reads at 7, refused: 8 ──── applied at 9 ─────── reads, refused: 10

Each leaves a note of what it wrote to the next holder, which then need not read it either.
Nothing depends on it for being right: who waits in vain, or has no file to lock, goes on without.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from tempfile import gettempdir

from ...errors import ConfigurationError
from ..support.directory import make_private
from ..support.file_lock import FileLock
from .known import Note

_CONTENDED_SECONDS = 1.0
_WAIT_SECONDS = 0.2
_YIELD_SECONDS = 0.001
_MOST = 1024


class HostLock:
    """The lock file of a store, and the note of the process that had it last.

    It is taken only for keys that other processes have changed a moment ago.

    :param location: of the store; processes that name it alike share the lock.
    """

    def __init__(self, location: str) -> None:
        self._file = f"etcd-{sha256(location.encode()).hexdigest()[:16]}.lock"
        self._begin()

    def _begin(self) -> None:
        self._contended: dict[bytes, float] = {}
        self._lock: tuple[FileLock, Note] | None = None
        self._held = threading.local()

    def after_fork_in_child(self) -> None:
        """Begin without the lock; the parent keeps it if it has it."""
        if self._lock is not None:
            for each in self._lock:
                each.close()
        self._begin()

    def contended(self, keys: Iterable[bytes]) -> None:
        """Take the lock for these keys for a while, as other processes change them too."""
        if len(self._contended) > _MOST:
            self._contended = {}
        self._contended.update(dict.fromkeys(keys, time.monotonic() + _CONTENDED_SECONDS))

    @contextmanager
    def held(self, keys: Sequence[bytes]) -> Iterator[Note | None]:
        """Hold the lock if others change these keys too; yields the note of its last holder, if so.

        A thread that holds it already goes on with it. One that waits in vain goes on without.
        """
        held = getattr(self._held, "note", None)
        found = None if held else self._lock_for(keys)
        if found is None or not _acquired(*found):
            yield held
            return
        lock, self._held.note = found
        try:
            yield self._held.note
        finally:
            self._held.note = None
            lock.release()

    def close(self) -> None:
        """Close the files, if no other thread uses them; the next holder opens them again."""
        if self._lock is None:
            return
        lock, note = self._lock
        if _acquired(lock, note):
            lock.close()
            note.close()
            lock.release()

    def _lock_for(self, keys: Sequence[bytes]) -> tuple[FileLock, Note] | None:
        contended = self._contended
        if not contended:
            return None
        now = time.monotonic()
        if all(contended.get(key, 0.0) < now for key in keys):
            return None
        if self._lock is None:
            try:
                path = make_private(Path(gettempdir())) / self._file
            except ConfigurationError:
                return None
            self._lock = FileLock(path), Note(path.with_suffix(".note"))
        return self._lock


def _acquired(lock: FileLock, note: Note) -> bool:
    try:
        if note.is_own() and lock.is_waited_for:
            time.sleep(_YIELD_SECONDS)  # Who waits looks for the lock now and then only.
        return lock.acquire(_WAIT_SECONDS)
    except (OSError, ValueError):  # There is no room for it, or it was closed meanwhile.
        return False
