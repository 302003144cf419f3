"""What was written to a state, or removed from it, since it was copied to another one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import NamedTuple

from ..state import State
from ..stores.operations import NEVER, Record, Remove
from .records import Entry, entries, is_fence, physical_key
from .transfer import Tally, selected, store_entry

_TOGETHER = 500
_SAME_SECONDS = 2.0
"""Stores round a time to live, and it goes on while it is copied."""


class Difference(NamedTuple):
    """A record that is not in both, or not the same."""

    entry: Entry
    """As the source has it; as the target has it if the source has it no more."""
    is_gone: bool


def changed(source: State, target: State, prefix: str, tally: Tally) -> Iterator[Difference]:
    """The records of the source that the target does not have, or not as they are."""
    wanted = selected(source, target, prefix, tally)
    while some := list(islice(wanted, _TOGETHER)):
        found = target.store.read([physical_key(target, entry) for entry in some])
        for entry, record in zip(some, found, strict=True):
            if not _is_same(entry, record):
                yield Difference(entry, False)


def removed(source: State, target: State, prefix: str) -> Iterator[Difference]:
    """The records of the target that the source does not have.

    :raises NotSupported: if the target cannot list its keys.
    """
    start = prefix.encode()
    there = (entry for entry in entries(target) if _may_be_gone(target, entry, start))
    while some := list(islice(there, _TOGETHER)):
        found = source.store.read([physical_key(source, entry) for entry in some])
        for entry, record in zip(some, found, strict=True):
            if record is None:
                yield Difference(entry, True)


def catch_up(
    target: State, differences: Iterable[Difference], tally: Tally, *, dry_run: bool = False
) -> Iterator[Tally]:
    """Make the target as the source is; yields the tally after each record."""
    for entry, is_gone in differences:
        if is_gone:
            tally.removed += 1
            if not dry_run:
                target.store.transact((physical_key(target, entry),), Remove())
        else:
            tally.written += 1
            if not dry_run:
                store_entry(target, entry, overwrite=True)
        yield tally


def _is_same(entry: Entry, found: Record | None) -> bool:
    if found is None:
        return False
    raw, expires = entry.record
    if is_fence(entry):  # It is never lowered.
        return int(found[0]) >= int(raw)
    return found[0] == raw and _is_about(expires, found[1])


def _is_about(expires: float, other: float) -> bool:
    if NEVER in (expires, other):
        return expires == other
    return abs(expires - other) < _SAME_SECONDS


def _may_be_gone(target: State, entry: Entry, start: bytes) -> bool:
    if start and (entry.namespace or not entry.key.startswith(start)):
        return False
    ends_soon = entry.record[1] < target.store.clock() + _SAME_SECONDS
    return not ends_soon and not is_fence(entry)
