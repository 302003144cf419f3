"""What stores that stand before another store have in common."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, TypeVar

from ...errors import StoreUnavailable
from ...settings import Settings
from ..base import Clock, Done, Page, Scope, Store
from ..operations import Operation, Record

R = TypeVar("R")


class Interrupted(StoreUnavailable):
    """An operation was broken off in this process, which says nothing of the store."""


class Wrapper(Store):
    """A store that asks another one, and does something of its own around each call.

    A subclass implements :meth:`_call`. It is no store by itself: forks and the releasing of what
    is open concern the one behind it.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    @abstractmethod
    def _call(self, keys: Sequence[bytes], method: Callable[..., R], *arguments: Any) -> R:
        """Return ``method(*arguments)``, a call of the store behind.

        :param keys: what the call is about, ``()`` for the store as a whole.
        """

    @classmethod
    def from_settings(cls, settings: Settings) -> Store:
        raise TypeError(f"a {cls.__name__} is put before a store that exists")

    @property
    def name(self) -> str:  # type: ignore[override]
        return self._store.name

    @property
    def scope(self) -> Scope:  # type: ignore[override]
        return self._store.scope

    @property
    def can(self) -> frozenset[str]:  # type: ignore[override]
        return self._store.can

    @property
    def snapshot_is_atomic(self) -> bool:  # type: ignore[override]
        return self._store.snapshot_is_atomic

    @property
    def has_server(self) -> bool:  # type: ignore[override]
        return self._store.has_server

    @property
    def has_client(self) -> bool:  # type: ignore[override]
        return self._store.has_client

    @property
    def combines(self) -> bool:  # type: ignore[override]
        return self._store.combines

    @property
    def client(self) -> Any:
        return self._store.client

    @property
    def timeout(self) -> float:  # type: ignore[override]
        return self._store.timeout

    @property
    def clock(self) -> Clock:
        return self._store.clock

    @clock.setter
    def clock(self, clock: Clock) -> None:
        self._store.clock = clock

    def transact(self, keys: Sequence[bytes], operation: Operation) -> Any:
        return self._call(keys, self._store.transact, keys, operation)

    def host_lock(self, keys: Sequence[bytes]) -> AbstractContextManager[object]:
        return self._store.host_lock(keys)

    def submit(self, keys: Sequence[bytes], operation: Operation, done: Done) -> None:
        self._store.submit(keys, operation, done)

    def read(self, keys: Sequence[bytes]) -> list[Record | None]:
        return self._call(keys, self._store.read, keys)

    def values(self, keys: Sequence[bytes]) -> list[bytes | None]:
        return self._call(keys, self._store.values, keys)

    def sizes(self, keys: Sequence[bytes]) -> list[int]:
        return self._call(keys, self._store.sizes, keys)

    def expiries(self, keys: Sequence[bytes]) -> list[float | None]:
        return self._call(keys, self._store.expiries, keys)

    def page(self, prefix: bytes, cursor: str | None, limit: int) -> Page:
        return self._call((), self._store.page, prefix, cursor, limit)

    def clear(self, prefix: bytes) -> None:
        self._call((), self._store.clear, prefix)

    def ping(self) -> None:
        self._call((), self._store.ping)

    def measure(self) -> dict[str, int]:
        return self._call((), self._store.measure)

    def purge(self) -> int:
        return self._call((), self._store.purge)

    def set_aside(self) -> list[str]:
        return self._store.set_aside()

    def risks(self) -> list[str]:
        return self._call((), self._store.risks)

    def snapshot(self) -> Iterator[tuple[bytes, Record]]:
        return self._store.snapshot()

    def describe(self) -> dict[str, Any]:
        return self._store.describe()

    def servers_of(self, keys: Sequence[bytes]) -> Iterable[Hashable]:
        return self._store.servers_of(keys)

    def close(self) -> None:
        self._store.close()
