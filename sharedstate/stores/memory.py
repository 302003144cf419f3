"""``simple``: the records in the memory of this process, shared by its threads."""

from __future__ import annotations

import heapq
import threading
from collections.abc import Iterator, Sequence
from typing import Any

from ..errors import StoreFull
from ..settings import GIBIBYTE, Settings
from .base import Page, Store, cursor_key, key_range
from .operations import NEVER, Operation, Record

_ENTRY_BYTES = 200
_COLLECT = 4


class MemoryStore(Store):
    """A dictionary under a lock.

    :param max_bytes: bound of what keys and values take, about; a write past it is refused.
    """

    name = "simple"
    scope = "process"
    snapshot_is_atomic = True

    def __init__(self, *, max_bytes: int = GIBIBYTE, **options: Any) -> None:
        super().__init__(**options)
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._reset()

    def _reset(self) -> None:
        self._records: dict[bytes, Record] = {}
        self._expiries: list[tuple[float, bytes]] = []
        self._bytes = 0

    @classmethod
    def from_settings(cls, settings: Settings) -> MemoryStore:
        return cls(max_bytes=settings["CACHE_MAX_BYTES"])

    def transact(self, keys: Sequence[bytes], operation: Operation) -> Any:
        with self._lock:
            now = self.clock()
            records = [self._live(key, now) for key in keys]
            after, result = operation(records, now)
            changes = [
                (key, new)
                for key, old, new in zip(keys, records, after, strict=True)
                if new is not old
            ]
            self._make_room(changes, now)
            for key, record in changes:
                self._write(key, record)
            return result

    def read(self, keys: Sequence[bytes]) -> list[Record | None]:
        with self._lock:
            now = self.clock()
            return [self._live(key, now) for key in keys]

    def sizes(self, keys: Sequence[bytes]) -> list[int]:
        with self._lock:
            now = self.clock()
            records = [self._live(key, now) for key in keys]
        return [0 if record is None else len(record[0]) for record in records]

    def page(self, prefix: bytes, cursor: str | None, limit: int) -> Page:
        after = cursor_key(cursor)
        first, end = key_range(prefix)
        with self._lock:
            now = self.clock()
            keys = heapq.nsmallest(
                limit,
                (
                    key
                    for key, record in self._records.items()
                    if key > after and first <= key < end and record[1] > now
                ),
            )
        return keys, keys[-1].hex() if len(keys) == limit else None

    def clear(self, prefix: bytes) -> None:
        first, end = key_range(prefix)
        with self._lock:
            for key in [key for key in self._records if first <= key < end]:
                self._write(key, None)

    def snapshot(self) -> Iterator[tuple[bytes, Record]]:
        with self._lock:
            records, now = list(self._records.items()), self.clock()
        return ((key, record) for key, record in records if record[1] > now)

    def ping(self) -> None:
        """Nothing to ask: the records are in this process."""

    def describe(self) -> dict[str, Any]:
        return {"location": "the memory of this process", "durability": "none"}

    def measure(self) -> dict[str, int]:
        return {"entries": len(self._records), "bytes": self._bytes}

    def close(self) -> None:
        """Nothing is open; the records stay until the process ends."""

    def before_fork(self) -> None:
        self._lock.acquire()  # So that the child's copy is not one of half a write.

    def after_fork_in_parent(self) -> None:
        self._lock.release()

    def after_fork_in_child(self) -> None:
        self._lock = threading.Lock()

    def _live(self, key: bytes, now: float) -> Record | None:
        record = self._records.get(key)
        return record if record is not None and record[1] > now else None

    def _make_room(self, changes: Sequence[tuple[bytes, Record | None]], now: float) -> None:
        """Collect a few expired records, and refuse a change that does not fit."""
        for _ in range(_COLLECT):
            if not self._expiries or self._expiries[0][0] > now:
                break
            expires, key = heapq.heappop(self._expiries)
            record = self._records.get(key)
            if record is not None and record[1] == expires:
                self._write(key, None)
        growth = sum(self._size(key, new) - self._stored(key) for key, new in changes)
        if growth > 0 and self._bytes + growth > self._max_bytes:
            raise StoreFull(f"the store holds its CACHE_MAX_BYTES of {self._max_bytes:,} bytes")

    def _write(self, key: bytes, record: Record | None) -> None:
        self._bytes += self._size(key, record) - self._stored(key)
        if record is None:
            self._records.pop(key, None)
            return
        self._records[key] = record
        if record[1] != NEVER:
            heapq.heappush(self._expiries, (record[1], key))
            self._drop_stale_expiries()

    def _drop_stale_expiries(self) -> None:
        """Keep the heap in proportion to the records, however often one is touched."""
        if len(self._expiries) > 2 * len(self._records) + 64:
            self._expiries = [
                (record[1], key) for key, record in self._records.items() if record[1] != NEVER
            ]
            heapq.heapify(self._expiries)

    def _stored(self, key: bytes) -> int:
        return self._size(key, self._records.get(key))

    @staticmethod
    def _size(key: bytes, record: Record | None) -> int:
        return len(key) + len(record[0]) + _ENTRY_BYTES if record else 0
