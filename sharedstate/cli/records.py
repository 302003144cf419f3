"""All that a state keeps in its store: its keys, and the records of its namespaces."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from ..keyspace.eviction import is_result
from ..state import State
from ..stores.operations import Record

_OWN = b"\0"


class Entry(NamedTuple):
    """A record with the place that it has in a state."""

    namespace: str
    """``once``, ``lock``, ``session``, …; empty for a key of the state itself."""
    key: bytes
    """The key without the state's prefix."""
    record: Record


def is_fence(entry: Entry) -> bool:
    """Whether the record is the number that locks draw their fences from."""
    return entry.namespace.endswith("/fence")


def entries(state: State) -> Iterator[Entry]:
    """The live records of the state and of all its namespaces, page by page."""
    return placed(state, _records(state))


def pairs(state: State) -> Iterator[tuple[bytes, Record]]:
    """Those records with their keys as the store has them, and cached results too."""
    prefix = state.physical_prefix
    for physical, record in _records(state):
        if _divided(physical)[1].startswith(prefix):
            yield physical, record


def _records(state: State) -> Iterator[tuple[bytes, Record]]:
    yield from state.store.records(state.physical_prefix)
    yield from state.store.records(_OWN)


def placed(state: State, records: Iterable[tuple[bytes, Record]]) -> Iterator[Entry]:
    """Those of a store's records that belong to the state, without cached results."""
    prefix = state.physical_prefix
    for physical, record in records:
        namespace, rest = _divided(physical)
        if rest.startswith(prefix) and not is_result(physical):
            yield Entry(namespace, rest[len(prefix) :], record)


def counts(state: State) -> dict[str, int]:
    """How many records each namespace of the state holds, beside its keys."""
    found: dict[str, int] = {}
    for entry in entries(state):
        if entry.namespace:
            found[entry.namespace] = found.get(entry.namespace, 0) + 1
    return found


def _divided(physical: bytes) -> tuple[str, bytes]:
    """The namespace and the rest of a key: ``\\0lock:prefix key`` is in ``lock``."""
    if not physical.startswith(_OWN):
        return "", physical
    namespace, _, rest = physical[len(_OWN) :].partition(b":")
    return namespace.decode(errors="replace"), rest
