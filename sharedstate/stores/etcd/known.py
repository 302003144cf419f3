"""What keys held last, as far as this process or another one of the host knows."""

from __future__ import annotations

import json
import mmap
import os
import struct
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from zlib import crc32

from .messages import Found
from .records import EXACT, View

Rows = Iterable[tuple[bytes, Found | None]]
"""Keys, and what they hold; ``None`` where that is not worth knowing."""

_MOST = 1024
_BYTES = 1 << 14
_HEAD = struct.Struct("=II")
_SECONDS = 0.5


class Known:
    """What this process wrote last: often still there, and then it need not be read."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Know nothing any more."""
        self._rows: dict[bytes, Found] = {}

    def view(self, keys: Sequence[bytes]) -> View | None:
        """What may be there, if it is known of all of them."""
        return _view(self._rows, keys)

    def remember(self, written: Rows) -> None:
        """Know what was written."""
        if len(self._rows) > _MOST:
            self.forget()
        for key, one in written:
            if one is None:
                self._rows.pop(key, None)
            else:
                self._rows[key] = one


class Note:
    """A file with what one process wrote last, for the next holder of the lock.

    It is short and ends soon: a cluster that was set up anew counts its revisions from one again.

    :param path: written and read by one at a time, who has the lock.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._map: mmap.mmap | None = None
        self._wrote = b""

    def is_own(self) -> bool:
        """Whether this process has written it last."""
        mapped = self._map
        try:
            return mapped is not None and mapped[: len(self._wrote)] == self._wrote != b""
        except ValueError:  # It was closed meanwhile.
            return False

    def view(self, keys: Sequence[bytes]) -> View | None:
        """What may be there, if it is noted of all of them and was written a moment ago."""
        try:
            mapped = self._mapped()
            checksum, size = _HEAD.unpack_from(mapped)
            text = mapped[_HEAD.size : _HEAD.size + size]
            if checksum != crc32(text):  # Who wrote it was killed meanwhile.
                return None
            written, rows = json.loads(text)
        except (OSError, ValueError):
            return None
        if not 0 <= time.monotonic() - written < _SECONDS:
            return None
        known = {
            key.encode("latin-1"): Found(value.encode("latin-1"), *rest)
            for key, value, *rest in rows
        }
        return _view(known, keys)

    def write(self, written: Rows) -> None:
        """Leave what was written to the next one."""
        rows = [
            (key.decode("latin-1"), one.value.decode("latin-1"), *one[1:])
            for key, one in written
            if one is not None and one.value is not None
        ]
        text = json.dumps((time.monotonic(), rows)).encode()
        if _HEAD.size + len(text) > _BYTES:
            text = b""
        whole = _HEAD.pack(crc32(text), len(text)) + text
        with suppress(OSError, ValueError):  # It is read instead.
            self._mapped()[: len(whole)] = whole
            self._wrote = whole

    def close(self) -> None:
        """Close the file; it is opened when needed."""
        mapped, self._map = self._map, None
        if mapped is not None:
            mapped.close()

    def _mapped(self) -> mmap.mmap:
        if self._map is None:
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
            descriptor = os.open(self._path, flags, 0o600)
            try:
                if os.fstat(descriptor).st_size < _BYTES:
                    # Written, not only made longer: a hole on a full disk would be a SIGBUS.
                    os.pwrite(descriptor, bytes(_BYTES), 0)
                self._map = mmap.mmap(descriptor, _BYTES)
            finally:
                os.close(descriptor)
        return self._map


def _view(known: dict[bytes, Found], keys: Sequence[bytes]) -> View | None:
    found = [one for key in keys if (one := known.get(key)) is not None]
    return View(found, 0, False) if len(found) == len(keys) <= EXACT else None
