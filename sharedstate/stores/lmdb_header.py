"""Looks at an LMDB file before LMDB maps it: a cut-off one would kill the process with SIGBUS."""

from __future__ import annotations

import struct
from pathlib import Path

from ..errors import StoreUnavailable

_MAGIC = 0xBEEFC0DE
# MDB_meta, behind a page header of 16 bytes: magic, version, …, page size, …, last page, txn id.
_META = struct.Struct("=16x II 16x I 92x QQ")


def refuse_damaged(path: Path) -> None:
    """Raise :exc:`StoreUnavailable` if ``path`` is no LMDB file or lacks pages at its end."""
    try:
        with path.open("rb") as file:
            first = file.read(_META.size)
            size = file.seek(0, 2)
            if size == 0:
                return
            metas = [first]
            if len(first) == _META.size and _META.unpack(first)[0] == _MAGIC:
                file.seek(_META.unpack(first)[2])
                metas.append(file.read(_META.size))
    except FileNotFoundError:
        return
    found = [_META.unpack(meta) for meta in metas if len(meta) == _META.size]
    if len(found) == 2 and all(magic == _MAGIC for magic, *_ in found):
        _, _, page_size, last_page, _ = max(found, key=lambda meta: meta[4])
        page_size = found[0][2]
        if size >= (last_page + 1) * page_size:
            return
    raise StoreUnavailable(
        f"{path} is damaged or not an LMDB file; it was left as it is: "
        "restore it from a copy, or move it away to begin anew"
    )
