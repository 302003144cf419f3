"""``lmdb``: the records in an LMDB environment, shared by all processes of a host; the fastest.

LMDB's writers queue at one mutex that ends with its holder. It knows no time-out: a process that
is *stopped* (not killed) in the microseconds of its write holds the others up until it goes on.
"""

from __future__ import annotations

import os
import struct
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from weakref import finalize

from ..errors import ConfigurationError, SharedStateError, StoreFull, StoreUnavailable
from ..settings import GIBIBYTE, Settings, byte_count, choice
from .base import Page, Store, cursor_key, key_range
from .directory import Identity, data_directory, make_private
from .drivers import import_driver
from .lmdb_header import refuse_damaged
from .operations import NEVER, Operation, Record

_pack = struct.Struct(">d").pack
_unpack = struct.Struct(">d").unpack
_NEVER = _pack(NEVER)

_COLLECT_EVERY = 32
_REMOVE_AT_ONCE = 1000
_IDENTITY_SECONDS = 0.1
_MAX_READERS = 1024
_HEADROOM = 16 << 20
_NAMES = (b"sharedstate-1-entries", b"sharedstate-1-expiries")


class _Environment:
    """An open environment, one a directory and process: LMDB forbids to open it twice."""

    def __init__(self, directory: Path, *, durability: str, max_bytes: int) -> None:
        lmdb = import_driver("lmdb")
        path = directory / "data.mdb"
        refuse_damaged(path)
        self.directory = directory
        self.max_bytes = max_bytes
        self.users = 0
        self.env = lmdb.open(
            str(directory),
            # Headroom: LMDB copies the pages that a deletion changes, so a full map could not
            # even be emptied.
            map_size=max_bytes + max(_HEADROOM, max_bytes // 8),
            mode=0o600,
            sync=durability == "full",
            max_dbs=len(_NAMES),
            max_readers=_MAX_READERS,
        )
        try:
            self.env.reader_check()
            self._refuse_foreign()
            self.entries, self.expiries = (self.env.open_db(name) for name in _NAMES)
        except BaseException:
            self.env.close()
            raise
        self.identity = Identity(path)

    def _refuse_foreign(self) -> None:
        with self.env.begin() as txn, txn.cursor() as cursor:
            names = [bytes(key) for key in cursor.iternext(values=False)]
        if names and _NAMES[0] not in names:
            raise ConfigurationError(
                f"{self.directory} holds an LMDB environment of another program or version; "
                "it was left as it is: choose another CACHE_DIR"
            )


_environments: dict[Path, _Environment] = {}
_abandoned: list[_Environment] = []
_opening = threading.Lock()


def _after_fork() -> None:
    global _opening
    _abandoned.extend(_environments.values())
    _environments.clear()
    _opening = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def _acquire(directory: Path, **options: Any) -> _Environment:
    with _opening:  # Threads that race in lmdb.open crash the process.
        if directory not in _environments:
            _environments[directory] = _Environment(directory, **options)
        environment = _environments[directory]
        environment.users += 1
        return environment


def _release(environment: _Environment) -> None:
    with _opening:
        environment.users -= 1
        if not environment.users and _environments.get(environment.directory) is environment:
            del _environments[environment.directory]
            environment.env.close()


class LmdbStore(Store):
    """Two LMDB databases: the entries by key, and the keys of those that expire by time.

    ``kill -9`` of any process loses nothing that was answered. With ``durability="normal"`` a
    power cut may leave an environment that cannot be used; with ``"full"`` an answer means that
    the disk has it, and costs an fsync.

    :param directory: where the environment lies; made when missing, private to this user.
    :param max_bytes: bound of the entries' size; a write past it is refused. The file is sparse.
    """

    name = "lmdb"
    scope = "host"

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
        self._max_bytes = max_bytes
        self._opened: _Environment | None = None
        self._writes = 0
        self._checked = 0.0

    @classmethod
    def from_settings(cls, settings: Settings) -> LmdbStore:
        return cls(
            data_directory(settings),
            durability=choice(settings, "CACHE_DURABILITY", ("normal", "full")),
            max_bytes=byte_count(settings, "CACHE_MAX_BYTES", GIBIBYTE),
        )

    def transact(self, keys: Sequence[bytes], operation: Operation) -> Any:
        opened = self._ready()
        try:
            return self._attempt(opened, keys, operation)
        except SharedStateError:
            raise
        except Exception as error:
            if type(error).__name__ != "MapFullError":
                raise self._explained(error) from error
        # Readers that died keep old pages from being used again.
        opened.env.reader_check()
        try:
            return self._attempt(opened, keys, operation)
        except Exception as error:
            raise self._explained(error) from error

    def read(self, keys: Sequence[bytes]) -> list[Record | None]:
        opened = self._ready()
        now = self.clock()
        try:
            with opened.env.begin(opened.entries) as txn:
                return [_live(txn.get(key), now) for key in keys]
        except Exception as error:
            raise self._explained(error) from error

    def page(self, prefix: bytes, cursor: str | None, limit: int) -> Page:
        opened = self._ready()
        first, end = key_range(prefix)
        after = cursor_key(cursor)
        now = self.clock()
        keys: list[bytes] = []
        try:
            with opened.env.begin(opened.entries) as txn, txn.cursor() as entries:
                for key, raw in _entries_from(entries, max(first, after)):
                    if key >= end or len(keys) == limit:
                        break
                    if key > after and _live(raw, now):
                        keys.append(key)
        except Exception as error:
            raise self._explained(error) from error
        return keys, keys[-1].hex() if len(keys) == limit else None

    def clear(self, prefix: bytes) -> None:
        first, end = key_range(prefix)
        opened = self._ready()
        try:
            while _remove_some(opened, first, end):
                pass
        except Exception as error:
            raise self._explained(error) from error

    def ping(self) -> None:
        self.read([b"\x00"])

    def describe(self) -> dict[str, Any]:
        return {"location": str(make_private(self.directory)), "durability": self.durability}

    def close(self) -> None:
        if self._opened is not None:
            self._opened = None
            self._closer()

    def after_fork(self) -> None:
        if self._opened is not None:
            self._opened = None
            self._closer.detach()

    def _ready(self) -> _Environment:
        opened = self._opened
        if opened is None:
            return self._open()
        if time.monotonic() - self._checked > _IDENTITY_SECONDS:
            self._checked = time.monotonic()
            try:
                opened.identity.check()
            except StoreUnavailable as error:
                raise StoreUnavailable(f"{error} after a restart of this process") from None
        return opened

    def _open(self) -> _Environment:
        try:
            opened = _acquire(
                make_private(self.directory),
                durability=self.durability,
                max_bytes=self._max_bytes,
            )
        except SharedStateError:
            raise
        except Exception as error:
            raise self._explained(error) from error
        self._closer = finalize(self, _release, opened)
        self._opened = opened
        return opened

    def _attempt(self, opened: _Environment, keys: Sequence[bytes], operation: Operation) -> Any:
        # Nothing in here may run a caller's code, switch greenlets, or touch another thread: the
        # transaction holds the environment's one mutex.
        txn = opened.env.begin(opened.entries, None, True)
        try:
            now = self.clock()
            stored, records = [], []
            for key in keys:
                raw = txn.get(key)
                stored.append(raw)
                records.append(_live(raw, now))
            after, answer = operation(records, now)
            for i, record in enumerate(after):
                if record is not records[i]:
                    _write(opened, txn, keys[i], stored[i], record)
            if self._writes % _COLLECT_EVERY == 0:
                opened.env.reader_check()
                _collect(opened, txn, now)
            self._writes += 1
            txn.commit()
            return answer
        except BaseException:
            txn.abort()
            raise

    def _explained(self, error: Exception) -> Exception:
        """The library's error for one of LMDB's or the system's; any other as it is."""
        lmdb = import_driver("lmdb")
        if isinstance(error, lmdb.MapFullError) or "No space left" in str(error):
            return StoreFull(
                f"{self.directory} or its disk is full ({error}); the write was not applied, "
                "and nothing is lost"
            )
        if isinstance(error, (lmdb.InvalidError, lmdb.CorruptedError, lmdb.VersionMismatchError)):
            return StoreUnavailable(
                f"the LMDB environment in {self.directory} is damaged or not one ({error}); it was "
                "left as it is: restore it from a copy, or move it away to begin anew"
            )
        if isinstance(error, (lmdb.Error, OSError)):
            return StoreUnavailable(f"{self.directory} cannot be used: {error}")
        return error


def _live(raw: bytes | None, now: float) -> Record | None:
    """The record in an entry's bytes, unless it has expired."""
    if raw is None:
        return None
    if raw[:8] == _NEVER:
        return raw[8:], NEVER
    (expires,) = _unpack(raw[:8])
    return (raw[8:], expires) if expires > now else None


def _write(
    opened: _Environment, txn: Any, key: bytes, old: bytes | None, record: Record | None
) -> None:
    """Store the record, or remove it, and keep the index of expiries true."""
    if record is None:
        new, expires = None, _NEVER
    else:
        expires = _NEVER if record[1] == NEVER else _pack(record[1])
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


def _make_sure_of_room(opened: _Environment, txn: Any, size: int) -> None:
    used = txn.stat(opened.entries)
    pages = used["branch_pages"] + used["leaf_pages"] + used["overflow_pages"]
    if pages * used["psize"] + size > opened.max_bytes:
        raise StoreFull(
            f"{opened.directory} has reached CACHE_MAX_BYTES ({opened.max_bytes:,} bytes); "
            "the write was not applied, and nothing is lost"
        )


def _entries_from(cursor: Any, first: bytes) -> Iterator[tuple[bytes, bytes]]:
    # A cursor that was not placed would begin with the first entry of all.
    return cursor.iternext() if cursor.set_range(first) else iter(())


def _collect(opened: _Environment, txn: Any, now: float) -> None:
    """Remove a bounded number of expired entries."""
    with txn.cursor(opened.expiries) as cursor:
        due = [key for key, _ in zip(_due(cursor, now), range(2 * _COLLECT_EVERY), strict=False)]
    for expired in due:
        txn.delete(expired, db=opened.expiries)
        txn.delete(expired[8:])


def _due(cursor: Any, now: float) -> Iterator[bytes]:
    limit = _pack(now)
    for key in cursor.iternext(values=False):
        if key[:8] > limit:
            return
        yield key


def _remove_some(opened: _Environment, first: bytes, end: bytes) -> bool:
    """Remove a bounded number of entries of a range; answers whether there may be more."""
    with opened.env.begin(opened.entries, write=True) as txn:
        found: list[tuple[bytes, bytes]] = []
        with txn.cursor() as cursor:
            for key, raw in _entries_from(cursor, first):
                if key >= end or len(found) == _REMOVE_AT_ONCE:
                    break
                found.append((key, raw[:8]))
        for key, expires in found:
            txn.delete(key)
            if expires != _NEVER:
                txn.delete(expires + key, db=opened.expiries)
    return len(found) == _REMOVE_AT_ONCE
