"""Makes room in a store by removing cached results, those that expire first before the others.

State is never removed. A cached result is: it can be computed again, and no visitor may fill a
store with results until nothing else can be stored.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar
from weakref import WeakKeyDictionary

from ..errors import StoreFull
from ..stores.base import Store
from ..stores.operations import Batch, Remove

R = TypeVar("R")

NAMESPACE = "cached"

# No key of a caller's ends with it.
_MARK = b"\0"

_PAGE_KEYS = 500
_READ_RECORDS = 50  # Of up to CACHE_MAX_VALUE_BYTES each.
_REMOVE_KEYS = 100
_PORTIONS = 4
_PAUSE = 0.01
_FRUITLESS_SECONDS = 10.0

_one_at_a_time = threading.Lock()

_fruitless: WeakKeyDictionary[Store, float] = WeakKeyDictionary()
"""Until when a store is not searched again, as none of its keys was that of a result."""


def place(store: Store, prefix: str) -> tuple[bytes, bytes]:
    """What the keys of all cached results begin with, and what they end with.

    Where people use a client of the server's, results are beside the state, so that what they
    delete by pattern is found; elsewhere they are apart, so that listing them reads nothing else.
    """
    if store.has_client:
        return prefix.encode(), _MARK
    return f"\0{NAMESPACE}:{prefix}".encode(), b""


def is_result(key: bytes) -> bool:
    """Whether a key in a store is that of a cached result."""
    return key.endswith(_MARK) or key.startswith(b"\0%b:" % NAMESPACE.encode())


def write_with_room(store: Store, prefix: str, write: Callable[[], R], full: StoreFull) -> R:
    """Return ``write()``, after as many cached results were removed as it needs.

    A write that raised :exc:`StoreFull` has changed nothing, so it may be tried again.

    :param full: what the first attempt has raised.
    :raises StoreFull: if there is no room without the cached results either.
    """
    if "keys" not in store.can:
        raise full  # Such a store evicts by itself.
    with _one_at_a_time:
        for _ in _portions(store, prefix):
            try:
                return write()
            except StoreFull as error:
                full = error
    raise full


def shrink(store: Store, prefix: str, most: int) -> None:
    """Remove the oldest of the cached results if there are more than ``most``."""
    with _one_at_a_time:
        ends = time.monotonic() + store.timeout
        keys = list(_keys(store, prefix, ends))
        if len(keys) > most:
            _remove(store, _oldest_first(store, keys, ends)[: len(keys) - most])


def _portions(store: Store, prefix: str) -> Iterator[None]:
    """Remove a quarter of the results before each second step, until none is left."""
    yield  # Another thread may have made room while this one waited.
    begins = time.monotonic()
    if begins < _fruitless.get(store, begins):
        return
    ends = begins + store.timeout
    keys = _oldest_first(store, list(_keys(store, prefix, ends)), ends)
    if store.has_client and not keys:
        _fruitless[store] = time.monotonic() + _FRUITLESS_SECONDS
    size = max(len(keys) // _PORTIONS, 1)
    for start in range(0, len(keys), size):
        _remove(store, keys[start : start + size])
        yield
        # In LMDB, what is removed becomes room when those end who read it meanwhile.
        time.sleep(_PAUSE)
        yield


def _keys(store: Store, prefix: str, ends: float) -> Iterator[bytes]:
    """The keys of the cached results that are found until ``ends``."""
    first, last = place(store, prefix)
    cursor: str | None = None
    while True:
        page, cursor = store.page(first, cursor, _PAGE_KEYS)
        yield from (key for key in page if key.endswith(last))
        if cursor is None or time.monotonic() > ends:
            return


def _oldest_first(store: Store, keys: Sequence[bytes], ends: float) -> list[bytes]:
    """The keys in the order of their expiry, as far as it can be read until ``ends``."""
    aged: list[tuple[float, bytes]] = []
    for some in _chunks(keys, _READ_RECORDS):
        found = zip(store.expiries(some), some, strict=True)
        aged += [(expires, key) for expires, key in found if expires is not None]
        if time.monotonic() > ends:
            break
    return [key for _, key in sorted(aged)]


def _remove(store: Store, keys: Sequence[bytes]) -> None:
    for some in _chunks(keys, _REMOVE_KEYS):
        if "atomic_batch" in store.can:
            batch = Batch([(i, Remove()) for i in range(len(some))], divisible=True)
            store.transact(some, batch)
        else:
            for key in some:
                store.transact((key,), Remove())


def _chunks(keys: Sequence[bytes], size: int) -> Iterator[Sequence[bytes]]:
    return (keys[start : start + size] for start in range(0, len(keys), size))


def _begin_anew() -> None:
    global _one_at_a_time
    _one_at_a_time = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)
