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


def physical_key(state: State, entry: Entry) -> bytes:
    """The key of a record as a state's store has it."""
    return prefix_of(state, entry.namespace) + entry.key


def prefix_of(state: State, namespace: str) -> bytes:
    """What the keys of a namespace of the state begin with in its store; empty: of the state.

    The names are those of :class:`Entry`, of which a Redis Cluster has some that no state has.
    """
    start = _OWN + namespace.encode() + b":" if namespace else b""
    return start + state.physical_prefix


def counts(state: State) -> dict[str, int]:
    """How many records each namespace of the state holds, beside its keys."""
    found: dict[str, int] = {}
    for entry in entries(state):
        if entry.namespace:
            found[entry.namespace] = found.get(entry.namespace, 0) + 1
    return found


def _divided(physical: bytes) -> tuple[str, bytes]:
    """The namespace and the rest of a key: ``\\0lock:prefix key`` is in ``lock``.

    A Redis Cluster keeps a token at ``\\0{tag}\\0once:prefix token``, where a tag may have a colon.
    """
    if not physical.startswith(_OWN):
        return "", physical
    begins = max(physical.find(b"}\0"), 0) if physical.startswith(_OWN + b"{") else 0
    ends = physical.find(b":", begins)
    if ends < 0:
        return physical[len(_OWN) :].decode(errors="replace"), b""
    return physical[len(_OWN) : ends].decode(errors="replace"), physical[ends + 1 :]
