"""What a store has to do: one atomic primitive, and a few ways to look at the records."""

from __future__ import annotations

import logging  # noqa: F401  # its handlers of forks, registered first, run inside ours
import os
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, ClassVar, Literal
from weakref import WeakSet

from ..errors import InvalidKey, NotSupported, StoreFull
from ..settings import Settings
from .operations import Operation, Record

Scope = Literal["process", "host", "network"]
Page = tuple[list[bytes], str | None]
Clock = Callable[[], float]
Done = Callable[[Any, BaseException | None], object]
"""Is called with an operation's result, or with its error."""

DEFAULT_TIMEOUT = 2.0
_RECORDS_A_PAGE = 500


def now() -> float:
    """The time, asked of :mod:`time` at each call: tests put another ``time.time`` there."""
    return time.time()


class Store(ABC):
    """Records by key, shared by all that open the same store.

    Keys and values are bytes here; :class:`~sharedstate.state.State` builds the whole contract on
    this. A subclass implements what is abstract and nothing else. Everything may be called from
    any thread and greenlet, and in a child after a fork; nothing is opened before it is used.

    Every method raises :exc:`~sharedstate.errors.StoreUnavailable` within ``timeout`` seconds
    when the store does not respond.
    """

    name: ClassVar[str]
    """The store's ``CACHE_TYPE``."""

    scope: Scope
    """Who shares the state: the threads of a process, the processes of a host, or a network."""

    can: ClassVar[frozenset[str]] = frozenset({"keys", "once", "atomic_batch"})
    """Which of the operations that not every store has this one has."""

    snapshot_is_atomic: bool = False
    """Whether :meth:`snapshot` returns the records as they stood at one moment."""

    has_server: bool = False
    """Whether the records are in other processes, which may be down while this one goes on."""

    has_client: bool = False
    """Whether people also reach the records with a client of the server's, as :attr:`client`."""

    combines: bool = False
    """Whether operations that wait for it together are done faster in one step than in turn."""

    def __init__(self, *, timeout: float = DEFAULT_TIMEOUT, clock: Clock | None = None) -> None:
        self.timeout = timeout
        self.clock = clock or now
        watch_forks(self)

    @classmethod
    @abstractmethod
    def from_settings(cls, settings: Settings) -> Store:
        """The store that a Flask configuration's ``CACHE_*`` keys describe, not yet opened."""

    @property
    def client(self) -> Any:
        """The client of the server's own package, where ``has_client`` is true."""
        raise NotSupported(f"the store {self.name!r} has no client of its server's")

    @abstractmethod
    def transact(self, keys: Sequence[bytes], operation: Operation) -> Any:
        """Replace the records of ``keys`` by what ``operation`` makes of them, in one step.

        Atomic among all that share the store: no other operation sees or changes these records
        in between. If ``operation`` raises, nothing changes and its error is raised.

        :returns: the operation's result.
        """

    def host_lock(self, keys: Sequence[bytes]) -> AbstractContextManager[object]:
        """A lock that is held while operations that wait are collected and done in one step.

        A store whose processes wait for each other lets them wait here: meanwhile more operations
        come, which are then done in the same step. Most stores have none.

        :param keys: of the operation that has waited longest.
        """
        return nullcontext()

    def submit(self, keys: Sequence[bytes], operation: Operation, done: Done) -> None:
        """Do what :meth:`transact` does, for a caller that must not wait.

        A store that cannot do it elsewhere does it before it returns.

        :param done: is called once, from any thread; neither waits nor raises.
        """
        try:
            result = self.transact(keys, operation)
        except Exception as error:  # noqa: BLE001  # the caller gets it
            done(None, error)
        else:
            done(result, None)

    @abstractmethod
    def read(self, keys: Sequence[bytes]) -> list[Record | None]:
        """The live records of ``keys``; with ``atomic_batch``, as they stood at one moment."""

    def values(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """The values of the live records of ``keys``, for callers that need no expiry."""
        return [None if record is None else record[0] for record in self.read(keys)]

    def sizes(self, keys: Sequence[bytes]) -> list[int]:
        """How many bytes each value of ``keys`` has; 0 where there is none.

        Some stores return 0 for a counter too. It takes little memory, however many values there
        are, and however large.
        """
        return [len(value or b"") for key in keys for value in self.values((key,))]

    def expiries(self, keys: Sequence[bytes]) -> list[float | None]:
        """When each of ``keys`` expires, ``None`` for one that is not there."""
        return [None if record is None else record[1] for record in self.read(keys)]

    @abstractmethod
    def page(self, prefix: bytes, cursor: str | None, limit: int) -> Page:
        """Up to ``limit`` live keys that start with ``prefix``, and where to go on.

        Keys that begin with a zero byte are the library's own: here and in :meth:`clear` only a
        prefix that begins with one finds them.

        :param cursor: ``None`` to begin, then what the last call returned.
        :returns: the keys, each once, and the next cursor, ``None`` after the last page; a page
            that took too long ends early, perhaps with no key. A key that is there the whole time
            is on some page; one that comes or goes meanwhile may be.
        """

    @abstractmethod
    def clear(self, prefix: bytes) -> None:
        """Remove every record whose key starts with ``prefix``."""

    @abstractmethod
    def ping(self) -> None:
        """Do one round trip to where the records are."""

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """``location`` and ``durability`` in words, for people; no secrets."""

    def servers_of(self, keys: Sequence[bytes]) -> Iterable[Hashable]:
        """The servers that hold these keys, each as a value that stands for it in a dictionary."""
        return ("",)

    def measure(self) -> dict[str, int]:
        """How many ``entries`` and ``bytes`` it holds, about, as far as it can tell quickly."""
        return {}

    def purge(self) -> int:
        """Remove what has expired and still takes room.

        Stores do so as they go, and servers by themselves; nobody needs to call this.

        :returns: how many records that were.
        """
        removed = 0
        while some := self.collect():
            removed += some
        return removed

    def collect(self) -> int:
        """Remove a bounded number of expired records in one step; returns how many those were."""
        return 0

    def retry_with_room(self, full: StoreFull, attempt: Callable[[], Any]) -> Any:
        """What ``attempt`` returns once enough expired records have been removed.

        For a write that the store had no room for, and so has not applied.

        :param full: what the write raised; it is raised again if nothing has expired, or after
            ``timeout`` seconds.
        """
        deadline = time.monotonic() + self.timeout
        while self.collect():
            try:
                return attempt()
            except StoreFull:
                if time.monotonic() > deadline:
                    raise
        raise full

    def snapshot(self) -> Iterator[tuple[bytes, Record]]:
        """All live records with their keys, the library's own too.

        As they stood at one moment where ``snapshot_is_atomic``; elsewhere page by page, each
        record as it was when it was read.
        """
        yield from self.records(b"")
        yield from self.records(b"\0")

    def records(self, prefix: bytes) -> Iterator[tuple[bytes, Record]]:
        """The live records whose keys start with ``prefix``, page by page; see :meth:`page`."""
        cursor: str | None = None
        while True:
            keys, cursor = self.page(prefix, cursor, _RECORDS_A_PAGE)
            for key, record in zip(keys, self.read(keys) if keys else (), strict=True):
                if record is not None:
                    yield key, record
            if cursor is None:
                return

    def set_aside(self) -> list[str]:
        """Rename the files that hold the records, damaged or not, so that the next use begins anew.

        :returns: the new names.
        :raises NotSupported: if this store does not keep its records in files of this host.
        """
        raise NotSupported(f"the store {self.name!r} has no files that could be set aside")

    def risks(self) -> list[str]:
        """What about this store endangers what it holds, with the remedy; a sentence each."""
        return []

    @abstractmethod
    def close(self) -> None:
        """Release what is open; the next use opens it again."""

    # Forks, for stores that hold something which a child must not share.

    def before_fork(self) -> None:  # noqa: B027  # nothing to do is right for many stores
        """Finish what is in progress, begin nothing new, and close what is open."""

    def after_fork_in_parent(self) -> None:  # noqa: B027
        """Go on."""

    def after_fork_in_child(self) -> None:  # noqa: B027
        """Begin as a store that was never used."""


def cursor_key(cursor: str | None) -> bytes:
    """The key after which a page begins, in stores that page in the order of their keys."""
    try:
        return bytes.fromhex(cursor or "")
    except ValueError:
        raise bad_cursor() from None


def bad_cursor() -> InvalidKey:
    """The error for a cursor that no page has returned."""
    return InvalidKey("the cursor is not one that a page returned; begin without one")


def key_range(prefix: bytes) -> tuple[bytes, bytes]:
    """The first key with ``prefix``, and one after the last: no key contains the byte 255."""
    return prefix or b"\x01", prefix + b"\xff"


_stores: WeakSet[Store] = WeakSet()


def watch_forks(store: Store) -> None:
    """Call the store's methods that are about forks from now on."""
    _stores.add(store)


def _each(name: str) -> Callable[[], None]:
    def call() -> None:
        for store in list(_stores):
            getattr(store, name)()

    return call


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_each("before_fork"),
        after_in_parent=_each("after_fork_in_parent"),
        after_in_child=_each("after_fork_in_child"),
    )
