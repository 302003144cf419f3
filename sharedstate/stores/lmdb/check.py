"""Checks an LMDB file before it is opened, unless it is as its last user has left it.

liblmdb trusts its file: on one that is damaged it may abort the process. The check walks every
page without it, at about a second for each million of records, so it is done only where damage is
possible, and by the first process that opens the file, while the others wait::

    A  ─ opens: alone ── checks ── uses ─────────── closes, B has it open ─
    B  ──── opens ── waits for A ── uses ─────────────────── closes: alone, writes the stamp ─
    C                                                             opens: stamp matches ── uses ─
"""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from ...errors import StoreUnavailable
from ..support.drivers import import_driver
from .header import REMEDY

try:
    import fcntl
except ImportError:  # Windows: who else has the file open cannot be known, so nothing is checked.
    fcntl = None  # type: ignore[assignment]

FILE_NAME = "checked"

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_POLL_SECONDS = 0.005
_STAMP_BYTES = 1000


class CheckedFile:
    """An LMDB file that this process has open, and that was sound when it was opened.

    A file beside it holds the *stamp*: what the LMDB file looked like when it was last found sound
    or damaged, or closed by its last user. A process that has the LMDB file open holds a shared
    lock on it.

    :param timeout: how long to wait for another process that checks the file, in seconds.
    :param make: makes the file; it is called where there is none, and nobody else can open it.
    :raises StoreUnavailable: if it is damaged, or still being checked.
    """

    def __init__(
        self, path: Path, timeout: float, make: Callable[[Path], None] | None = None
    ) -> None:
        self.path = path
        self._descriptor = os.open(
            path.with_name(FILE_NAME), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
        )
        try:
            if self._is_alone():
                self._check()
                if make is not None and not self._has_content():
                    make(path)
            self._share(timeout)
        except BaseException:
            self.forget()
            raise

    def leave(self, *, is_sound: bool) -> None:
        """Say that it was closed by this process, and whether nothing was wrong with it."""
        with suppress(OSError):  # Without a stamp it is checked once more.
            if not is_sound:
                self._stamp("")
            elif self._is_alone():
                self._stamp(self._look())
        self.forget()

    def forget(self) -> None:
        """Release it without a word; in a child after a fork, where it is the parent's."""
        os.close(self._descriptor)

    def _is_alone(self) -> bool:
        return fcntl is not None and self._lock(fcntl.LOCK_EX)

    def _share(self, timeout: float) -> None:
        deadline = time.monotonic() + timeout
        while fcntl is not None and not self._lock(fcntl.LOCK_SH):
            if time.monotonic() > deadline:
                raise StoreUnavailable(
                    f"{self.path} is being checked for damage by another process; try again"
                )
            time.sleep(_POLL_SECONDS)

    def _lock(self, kind: int) -> bool:
        try:
            fcntl.flock(self._descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _check(self) -> None:
        look = self._look()
        known, _, problem = os.pread(self._descriptor, _STAMP_BYTES, 0).decode().partition("\n")
        if known != look:
            problem = self._problem()
            with suppress(OSError):  # The disk may be full.
                self._stamp(f"{look}\n{problem}" if problem else look)
        if problem:
            raise StoreUnavailable(f"{self.path} is damaged ({problem}); {REMEDY}")

    def _look(self) -> str:
        """What changes with each write of the file, and when the machine starts again.

        Until then a power cut cannot have taken what the file seems to hold.
        """
        try:
            boot = _BOOT_ID.read_text().strip()
        except OSError:
            return f"checked at {time.time()}"  # Matches no stamp.
        try:
            found = self.path.stat()
        except FileNotFoundError:
            return f"{boot} no file"
        return f"{boot} {found.st_dev} {found.st_ino} {found.st_size} {found.st_mtime_ns}"

    def _problem(self) -> str:
        if not self._has_content():
            return ""
        verifier = import_driver("lmdb.verify", "lmdb")
        try:
            found = verifier.verify(str(self.path), subdir=False)
        except verifier.VerifyError as error:
            return str(error)
        return found[0] if found else ""

    def _has_content(self) -> bool:
        return self.path.exists() and self.path.stat().st_size > 0

    def _stamp(self, text: str) -> None:
        raw = text.encode()[:_STAMP_BYTES]
        os.pwrite(self._descriptor, raw, 0)
        os.ftruncate(self._descriptor, len(raw))


def is_damage(error: Exception) -> bool:
    """Whether LMDB has found something in its file that it has not written there."""
    lmdb = import_driver("lmdb")
    kinds = (
        lmdb.BadTxnError,
        lmdb.CorruptedError,
        lmdb.CursorFullError,
        lmdb.InvalidError,
        lmdb.PageFullError,
        lmdb.PageNotFoundError,
        lmdb.VersionMismatchError,
        struct.error,  # An entry that is too short.
    )
    return isinstance(error, kinds)
