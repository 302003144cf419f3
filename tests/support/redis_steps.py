"""Operations of several callers in one step of a Redis store."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sharedstate.stores.operations import (
    Each,
    Operation,
)
from sharedstate.stores.registry import open_store

Steps = Sequence[tuple[Sequence[bytes], Operation]]


def each(store: Any, steps: Steps) -> list[Any]:
    """The results of the steps, done in one step of the store."""
    keys = list(dict.fromkeys(key for names, _ in steps for key in names))
    places = [(tuple(map(keys.index, names)), operation) for names, operation in steps]
    results: list[Any] = store.transact(keys, Each(places))
    return results


def store_at(url: str, **settings: Any) -> Any:
    """The store without what stands before it."""
    store: Any = open_store({"CACHE_URL": url, "CACHE_TIMEOUT": 30} | settings)
    while hasattr(store, "_store"):
        store = store._store
    return store
