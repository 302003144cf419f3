"""How records are written in an LMDB environment, and what is done to them in a transaction.

An entry is the time at which its record ends, as eight bytes in the order of the times, and the
value behind it. The keys of those that end stand in an index of their own, behind that time.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from itertools import islice
from typing import Any

from ...errors import StoreFull
from ..operations import NEVER, Increment, Record, parse_counter
from .environment import Environment

pack_time = struct.Struct(">d").pack
unpack_time = struct.Struct(">d").unpack
_NEVER = pack_time(NEVER)

REMOVE_AT_ONCE = 1000
"""How many records one transaction removes at most."""


def live(raw: bytes | None, now: float) -> Record | None:
    """The record in an entry's bytes, unless it has expired."""
    if raw is None:
        return None
    if raw[:8] == _NEVER:
        return raw[8:], NEVER
    (expires,) = unpack_time(raw[:8])
    return (raw[8:], expires) if expires > now else None


def write(
    opened: Environment, txn: Any, key: bytes, old: bytes | None, record: Record | None
) -> None:
    """Store the record, or remove it, and keep the index of expiries true."""
    if record is None:
        new, expires = None, _NEVER
    else:
        expires = _NEVER if record[1] == NEVER else pack_time(record[1])
        new = expires + record[0]
    if old is not None and (indexed := old[:8]) != _NEVER and indexed != expires:
        txn.delete(indexed + key, db=opened.expiries)
    if new is None:
        txn.delete(key)
        return
    if expires != _NEVER:
        txn.put(expires + key, b"", db=opened.expiries)
    if old is None or len(new) > len(old):
        _make_sure_of_room(opened, txn, len(new))
    txn.put(key, new)


def _make_sure_of_room(opened: Environment, txn: Any, size: int) -> None:
    used = txn.stat()
    pages = used["branch_pages"] + used["leaf_pages"] + used["overflow_pages"]
    if pages * used["psize"] + size > opened.max_bytes:
        raise StoreFull(
            f"{opened.directory} has reached CACHE_MAX_BYTES ({opened.max_bytes:,} bytes); "
            "the write was not applied, and nothing is lost"
        )


def entries_from(cursor: Any, first: bytes) -> Iterator[tuple[bytes, bytes]]:
    # A cursor that was not placed would begin with the first entry of all.
    return cursor.iternext() if cursor.set_range(first) else iter(())


def increment(txn: Any, key: bytes, operation: Increment) -> int | None:
    """The commonest operation of all written out: a counter that stays, and takes no more room.

    :returns: the new number, or ``None`` if this is not all that there is to it.
    """
    raw = txn.get(key)
    if raw is None or raw[:8] != _NEVER:
        return None
    number = parse_counter(raw[8:]) + operation.delta
    new = _NEVER + b"%d" % number
    if len(new) > len(raw) or not operation.minimum <= number <= operation.maximum:
        return None
    txn.put(key, new)
    return number


def collect(opened: Environment, txn: Any, now: float, limit: int) -> int:
    """Remove up to ``limit`` expired entries; returns how many."""
    with txn.cursor(opened.expiries) as cursor:
        due = list(islice(_due(cursor, now), limit))
    for expired in due:
        txn.delete(expired, db=opened.expiries)
        txn.delete(expired[8:])
    return len(due)


def _due(cursor: Any, now: float) -> Iterator[bytes]:
    limit = pack_time(now)
    for key in cursor.iternext(values=False):
        if key[:8] > limit:
            return
        yield key


def remove_some(opened: Environment, txn: Any, first: bytes, end: bytes) -> int:
    """Remove a bounded number of entries of a range; returns how many."""
    found: list[tuple[bytes, bytes]] = []
    with txn.cursor() as cursor:
        for key, raw in entries_from(cursor, first):
            if key >= end or len(found) == REMOVE_AT_ONCE:
                break
            found.append((key, raw[:8]))
    for key, expires in found:
        txn.delete(key)
        if expires != _NEVER:
            txn.delete(expires + key, db=opened.expiries)
    return len(found)
