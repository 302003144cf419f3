"""The processes of a host change one after the other what several of them want to change.

Without it each of them would lose every other time to another one, and a transaction that is
refused costs etcd as much as one that is applied::

    A   reads at 7, applied at 8 ── reads, refused: 9 ── applied at 10
    B   reads at 7, refused: 8 ──── applied at 9 ─────── reads, refused: 10

Each leaves a note of what it wrote to the next one, who then need not read it either.
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

_CROWDED_SECONDS = 1.0
_WAIT_SECONDS = 0.2
_YIELD_SECONDS = 0.001
_MOST = 1024


class Turns:
    """Whose turn it is among the processes of a host.

    :param location: of the store; those who name it alike take turns.
    """

    def __init__(self, location: str) -> None:
        self._file = f"etcd-{sha256(location.encode()).hexdigest()[:16]}.lock"
        self._begin()

    def _begin(self) -> None:
        self._crowded: dict[bytes, float] = {}
        self._lock: tuple[FileLock, Note] | None = None
        self._held = threading.local()

    def after_fork_in_child(self) -> None:
        """Begin as one who has not met anybody yet; the parent has its turn all the same."""
        if self._lock is not None:
            for each in self._lock:
                each.close()
        self._begin()

    def met(self, keys: Iterable[bytes]) -> None:
        """Take turns for a while, as others change these keys too."""
        if len(self._crowded) > _MOST:
            self._crowded = {}
        self._crowded.update(dict.fromkeys(keys, time.monotonic() + _CROWDED_SECONDS))

    @contextmanager
    def taken(self, keys: Sequence[bytes]) -> Iterator[Note | None]:
        """Wait for a turn if others change these keys too; the note of the one before, if so.

        A thread that has its turn already goes on with it.
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
        """Close the files, if no other thread uses them; the next turn opens them again."""
        if self._lock is None:
            return
        lock, note = self._lock
        if _acquired(lock, note):
            lock.close()
            note.close()
            lock.release()

    def _lock_for(self, keys: Sequence[bytes]) -> tuple[FileLock, Note] | None:
        crowded = self._crowded
        if not crowded:
            return None
        now = time.monotonic()
        if all(crowded.get(key, 0.0) < now for key in keys):
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
