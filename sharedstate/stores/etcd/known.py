"""What keys held last, as far as this process or another one of the host knows."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from zlib import crc32

from .messages import Found
from .records import EXACT, View

Rows = Iterable[tuple[bytes, Found | None]]
"""Keys, and what they hold; ``None`` where that is not worth knowing."""

_MOST = 1024
_MOST_BYTES = 1 << 14
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
    """A file with what one process wrote last, for the one whose turn is next.

    It is short and ends soon: a cluster that was set up anew counts its revisions from one again.

    :param path: written and read by one at a time, who has the lock.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def view(self, keys: Sequence[bytes]) -> View | None:
        """What may be there, if it is noted of all of them and was written a moment ago."""
        try:
            checksum, _, text = self._path.read_bytes().partition(b" ")
            if int(checksum) != crc32(text):  # Who wrote it was killed meanwhile.
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
        if len(text) > _MOST_BYTES:
            text = b""
        try:
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            try:
                os.write(descriptor, b"%d %s" % (crc32(text), text))
            finally:
                os.close(descriptor)
        except OSError:
            pass  # It is read instead.


def _view(known: dict[bytes, Found], keys: Sequence[bytes]) -> View | None:
    found = [one for key in keys if (one := known.get(key)) is not None]
    return View(found, 0, False) if len(found) == len(keys) <= EXACT else None
