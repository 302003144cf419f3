"""``lmdb``: the records in an LMDB environment, shared by all processes of a host; the fastest.

LMDB's writers queue at one mutex that ends with its holder. It knows no time-out: a process that
is *stopped* (not killed) in the microseconds of its write holds the others up until it goes on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from ...errors import SharedStateError, StoreFull, StoreUnavailable
from ...settings import GIBIBYTE, Settings
from ..base import Page, Store, cursor_key, key_range
from ..operations import Increment, Operation, Record
from ..support.directory import data_directory, is_disk_full, make_private, set_aside
from ..support.drivers import import_driver
from ..support.opened import Opened
from .check import is_damage
from .entries import (
    REMOVE_AT_ONCE,
    collect,
    entries_from,
    increment,
    live,
    pack_time,
    remove_some,
    unpack_time,
    write,
)
from .environment import Environment, abandon, acquire, discard, release
from .header import REMEDY

_COLLECT_EVERY = 32
_EXPIRED_A_PAGE = 5000


class LmdbStore(Store):
    """Two LMDB databases: the entries by key, and the keys of those that expire by time.

    ``kill -9`` of any process loses no write that has returned. With ``durability="normal"`` a
    power cut may leave an environment that cannot be used; with ``"full"`` a write
    that has returned is on the disk, which costs an fsync.

    :param directory: where the environment lies; made when missing, private to this user.
    :param max_bytes: bound of the entries' size; a write past it is refused. The file is sparse.
    """

    name = "lmdb"
    scope = "host"
    snapshot_is_atomic = True

    def __init__(
        self,
        directory: Path,
        *,
        durability: str = "normal",
        max_bytes: int = GIBIBYTE,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        import_driver("lmdb")
        self.directory = directory
        self.durability = durability
        self.combines = durability == "full"  # Without fsync a transaction is cheaper than waiting.
        self._max_bytes = max_bytes
        self._user = object()
        self._opened: Opened[Environment] = Opened()
        self._written = _COLLECT_EVERY  # The first write of a process collects what others left.

    @classmethod
    def from_settings(cls, settings: Settings) -> LmdbStore:
        return cls(
            data_directory(settings),
            durability=settings["CACHE_DURABILITY"],
            max_bytes=settings["CACHE_MAX_BYTES"],
            timeout=settings["CACHE_TIMEOUT"],
        )

    def transact(self, keys: Sequence[bytes], operation: Operation) -> Any:
        try:
            return self._transact(keys, operation)
        except StoreFull as error:
            return self.retry_with_room(error, partial(self._transact, keys, operation))

    def read(self, keys: Sequence[bytes]) -> list[Record | None]:
        # As _transaction() does, which would take a fifth more time.
        opened = self._ready()
        now = self.clock()
        try:
            with opened.gate, opened.env.begin() as txn:
                return [live(txn.get(key), now) for key in keys]
        except SharedStateError:
            raise
        except Exception as error:
            raise self._failed(opened, error) from error

    def sizes(self, keys: Sequence[bytes]) -> list[int]:
        now = pack_time(self.clock())
        with self._transaction(buffers=True) as (_, txn):
            found = [txn.get(key) for key in keys]
            # Entries begin with when they end, as bytes in the order of the times.
            return [len(raw) - len(now) if raw and bytes(raw[:8]) > now else 0 for raw in found]

    def expiries(self, keys: Sequence[bytes]) -> list[float | None]:
        now = self.clock()
        with self._transaction(buffers=True) as (_, txn):
            found = [txn.get(key) for key in keys]
            ends = [None if raw is None else unpack_time(raw[:8])[0] for raw in found]
        return [None if end is None or end <= now else end for end in ends]

    def page(self, prefix: bytes, cursor: str | None, limit: int) -> Page:
        first, end = key_range(prefix)
        after = cursor_key(cursor)
        now = self.clock()
        keys: list[bytes] = []
        last, expired = b"", 0
        with self._transaction() as (_, txn), txn.cursor() as entries:
            for key, raw in entries_from(entries, max(first, after)):
                if key >= end:
                    break
                if len(keys) == limit or expired == _EXPIRED_A_PAGE:
                    return keys, last.hex()
                last = key
                if key > after:
                    if live(raw, now):
                        keys.append(key)
                    else:
                        expired += 1
        return keys, None

    def clear(self, prefix: bytes) -> None:
        first, end = key_range(prefix)
        removed = REMOVE_AT_ONCE
        while removed == REMOVE_AT_ONCE:
            with self._transaction(write=True) as (opened, txn):
                removed = remove_some(opened, txn, first, end)

    def snapshot(self) -> Iterator[tuple[bytes, Record]]:
        now = self.clock()
        with self._transaction() as (_, txn), txn.cursor() as entries:
            for key, raw in entries.iternext():
                record = live(raw, now)
                if record is not None and key < b"\xff":  # Where the index of expiries is.
                    yield key, record

    def set_aside(self) -> list[str]:
        self.close()
        return set_aside(make_private(self.directory) / "data.mdb")

    def ping(self) -> None:
        self.read([b"\x00"])

    def describe(self) -> dict[str, Any]:
        return {"location": str(make_private(self.directory)), "durability": self.durability}

    def measure(self) -> dict[str, int]:
        with self._transaction() as (opened, txn):
            found = [txn.stat(), txn.stat(opened.expiries)]
        pages = sum(
            one["branch_pages"] + one["leaf_pages"] + one["overflow_pages"] for one in found
        )
        return {"entries": max(found[0]["entries"] - 1, 0), "bytes": pages * found[0]["psize"]}

    def collect(self) -> int:
        with self._transaction(write=True) as (opened, txn):
            return collect(opened, txn, self.clock(), REMOVE_AT_ONCE)

    def close(self) -> None:
        opened = self._opened.take()
        if opened is not None:
            release(opened, self._user)

    def after_fork_in_child(self) -> None:
        self._opened.take()  # Which lmdb/environment.py has closed.

    def _ready(self) -> Environment:
        opened = self._opened.value
        if opened is None or not opened.is_open:
            return self._open()
        if opened.watch.is_lost():
            discard(opened)
            raise opened.watch.error()
        return opened

    def _open(self) -> Environment:
        # Only one that is closed is forgotten: of threads that come here together, another may have
        # opened one by now, and use it.
        known = self._opened.value
        if known is not None and not known.is_open:
            self._opened.take()
        try:
            opened = acquire(
                make_private(self.directory),
                self._user,
                durability=self.durability,
                max_bytes=self._max_bytes,
                timeout=self.timeout,
            )
        except SharedStateError:
            raise
        except Exception as error:
            raise self._explained(error) from error
        return self._opened.put(self, opened, partial(abandon, user=self._user))

    @contextmanager
    def _transaction(
        self, write: bool = False, buffers: bool = False
    ) -> Iterator[tuple[Environment, Any]]:
        """A transaction, with LMDB's errors as the library's."""
        opened = self._ready()
        try:
            with opened.gate, opened.env.begin(write=write, buffers=buffers) as txn:
                yield opened, txn
        except SharedStateError:
            raise
        except Exception as error:
            raise self._failed(opened, error) from error

    def _transact(self, keys: Sequence[bytes], operation: Operation) -> Any:
        opened = self._opened.value
        if opened is None or not opened.is_open or opened.watch.is_due():
            opened = self._ready()
        try:
            with opened.gate:
                try:
                    return self._attempt(opened, keys, operation)
                except opened.full_error:
                    # Readers that died keep old pages from being used again.
                    opened.env.reader_check()
                    return self._attempt(opened, keys, operation)
        except SharedStateError:
            raise
        except Exception as error:
            raise self._failed(opened, error) from error

    def _attempt(self, opened: Environment, keys: Sequence[bytes], operation: Operation) -> Any:
        # Nothing in here may run a caller's code, switch greenlets, or touch another thread: the
        # transaction holds the environment's one mutex.
        txn = opened.env.begin(None, None, True)
        try:
            result = increment(txn, keys[0], operation) if type(operation) is Increment else None
            if result is None:
                result = self._change(opened, txn, keys, operation)
            self._written += len(keys)
            if self._written >= _COLLECT_EVERY:
                collect(opened, txn, self.clock(), 2 * self._written)
                self._written = 0
            txn.commit()
            return result
        except BaseException:
            txn.abort()
            raise

    def _change(
        self, opened: Environment, txn: Any, keys: Sequence[bytes], operation: Operation
    ) -> Any:
        """Do any operation in a transaction; returns what the operation returns."""
        now = self.clock()
        stored = [txn.get(key) for key in keys]
        records = [live(raw, now) for raw in stored]
        after, result = operation(records, now)
        for key, raw, old, new in zip(keys, stored, records, after, strict=True):
            if new is not old:
                write(opened, txn, key, raw, new)
        return result

    def _failed(self, opened: Environment, error: Exception) -> Exception:
        """The error to raise; the environment is closed if only opening it anew can help."""
        if is_damage(error):
            opened.is_sound = False  # It is checked when it is opened next.
            discard(opened)
        elif opened.has_panicked_by(error):
            discard(opened)
        return self._explained(error)

    def _explained(self, error: Exception) -> Exception:
        """The library's error for one of LMDB's or the system's; any other as it is."""
        lmdb = import_driver("lmdb")
        # Where the disk is full LMDB says that the write was cut short, as of any other fault.
        if isinstance(error, (lmdb.MapFullError, lmdb.DiskError)) or (
            isinstance(error, (lmdb.Error, OSError))
            and not isinstance(error, lmdb.InvalidError)
            and is_disk_full(self.directory)
        ):
            return StoreFull(
                f"{self.directory} or its disk is full ({error}); the write was not applied, "
                "and nothing is lost"
            )
        if is_damage(error):
            return StoreUnavailable(
                f"the environment in {self.directory} is damaged or not LMDB ({error}); {REMEDY}"
            )
        if isinstance(error, (lmdb.Error, OSError)):
            return StoreUnavailable(f"{self.directory} cannot be used: {error}")
        return error
