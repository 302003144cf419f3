"""Looks at an LMDB file before LMDB maps it: a cut-off one would kill the process with SIGBUS."""

from __future__ import annotations

import os
import struct
from pathlib import Path

from ...errors import StoreUnavailable
from ..support.directory import remedy

REMEDY = remedy()

_LOOKS = 5
_MAGIC = 0xBEEFC0DE
# MDB_meta, behind a page header of 16 bytes: magic, version, …, page size, …, last page, txn id.
_META = struct.Struct("=16x II 16x I 92x QQ")


def refuse_damaged(path: Path) -> None:
    """Raise :exc:`StoreUnavailable` if ``path`` is no LMDB file or lacks pages at its end."""
    try:
        # A look may fall in the middle of another process's write.
        if any(_is_whole(path) for _ in range(_LOOKS)):
            return
    except FileNotFoundError:
        return
    raise StoreUnavailable(f"{path} is damaged or not an LMDB file; {REMEDY}")


def _is_whole(path: Path) -> bool:
    with path.open("rb") as file:
        first = file.read(_META.size)
        if len(first) < _META.size:
            return file.seek(0, os.SEEK_END) == 0
        magic, _, page_size, last_page, transaction = _META.unpack(first)
        file.seek(page_size)
        second = file.read(_META.size)
        # The size last: the file only grows.
        size = file.seek(0, os.SEEK_END)
    if magic != _MAGIC or len(second) < _META.size:
        return False
    other_magic, _, _, other_last_page, other_transaction = _META.unpack(second)
    if other_transaction > transaction:
        last_page = other_last_page
    return bool(other_magic == _MAGIC and size >= (last_page + 1) * page_size)
