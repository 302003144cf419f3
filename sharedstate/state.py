"""The contract: every operation on shared state, on any store."""

from __future__ import annotations

import copy
import hashlib
import time
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, TypeVar

from .arguments import ABSENT, Absent, Timeout, checked_integer
from .batch import Batch
from .errors import Deadlock, NotSerializable, StoreFull
from .keyspace import ABOUT_A_KEY, Item, Namespace
from .locks.contention import Contention, pauses
from .locks.lock import Lock
from .stores.operations import Add, Exchange, Increment, Once, Put, Remove, Touch

R = TypeVar("R")

_PAGE_KEYS = 1000


class State(Namespace):
    """Values and counters in one namespace of a store.

    Every operation on a key is atomic among all that share the store, and all of them together
    are linearizable: there is one order of them that agrees with real time. Timeouts and leases
    are in seconds, fractions allowed; ``timeout=None`` means ``default_timeout`` and 0 means for
    ever. Nothing is ever evicted; where a store is full, cached results make room.

    Every operation raises :exc:`InvalidKey` for a key that is not text of 1 to 250 UTF-8 bytes
    without control characters, and :exc:`StoreUnavailable` within ``CACHE_TIMEOUT`` seconds if
    the store does not answer; one that stores a value raises :exc:`NotSerializable`,
    :exc:`ValueTooLarge` and :exc:`StoreFull`.
    """

    # Values.

    def get(self, key: str, default: Any = None) -> Any:
        """The value, or ``default`` if there is none; a stored ``None`` is a value."""
        (raw,) = self.store.values((self._key(key),))
        try:
            return default if raw is None else self.codec.decode(raw)
        except NotSerializable as error:
            error.key = key
            raise

    def set(self, key: str, value: Any, timeout: Timeout = None) -> bool:
        """Store the value, whatever was there, to expire after ``timeout``; answers ``True``."""
        self._apply(key, Put(self._encode(value, key), self._timeout(timeout)))
        return True

    def put(self, key: str, value: Any, timeout: Timeout = None) -> bool:
        """Store the value like :meth:`set`; answers whether the key is new."""
        operation = Exchange(self._encode(value, key), self._timeout(timeout))
        return self._apply(key, operation) is None

    def add(self, key: str, value: Any, timeout: Timeout = None) -> bool:
        """Store the value if there is none; answers whether it did. One of many callers wins."""
        added: bool = self._apply(key, Add(self._encode(value, key), self._timeout(timeout)))
        return added

    def exchange(self, key: str, value: Any, timeout: Timeout = None, default: Any = None) -> Any:
        """Store the value like :meth:`set` and answer the one that was there, or ``default``.

        :raises NotSerializable: also if the one that was there cannot be read; it is gone then.
        """
        raw = self._apply(key, Exchange(self._encode(value, key), self._timeout(timeout)))
        return default if raw is None else self._decode(raw, key)

    def delete(self, key: str) -> bool:
        """Remove the key; answers whether it was there."""
        removed: bool = self._apply(key, Remove())
        return removed

    def has(self, key: str) -> bool:
        """Whether the key is there."""
        return self.store.values((self._key(key),))[0] is not None

    def ttl(self, key: str) -> float | None:
        """Seconds until the key expires, 0 if it never does, ``None`` if it is not there."""
        (record,) = self.store.read((self._key(key),))
        return None if record is None else self._remaining(record)

    def touch(self, key: str, timeout: Timeout = None) -> bool:
        """Let the key expire after ``timeout`` from now; answers whether it is there."""
        touched: bool = self._apply(key, Touch(self._timeout(timeout)))
        return touched

    # Counters.

    def inc(
        self,
        key: str,
        delta: int = 1,
        *,
        initial: int = 0,
        timeout: Timeout = None,
        minimum: int | None = None,
        maximum: int | None = None,
        once: str | None = None,
    ) -> int:
        """Add ``delta`` to a counter and answer the new number: no two callers get the same.

        :param initial: what a missing counter starts from, before ``delta`` is added.
        :param timeout: when the counter expires, if this call creates it; kept otherwise.
        :param minimum: with ``maximum``, the bounds of the new number, both included; a counter
            is a signed 64-bit integer in any case.
        :param once: a token, at most 250 bytes. The first call with it applies the increment,
            and each repeat within 24 hours answers what the first one did.
        :raises OutOfBounds: if the new number would be out of bounds; the counter stays.
        :raises NotACounter: if the key holds something else; it stays.
        :raises TokenReused: if the token came before with another key or increment.
        :raises NotSupported: if the store cannot do ``once`` in one step with the increment.
        """
        increment = self._increment(delta, initial, timeout, minimum, maximum)
        if once is None:
            number: int
            keys = (self._key(key),)
            try:
                number = self.store.transact(keys, increment)
            except StoreFull as error:
                number = self._apply_with_room(keys, increment, error)
            except ABOUT_A_KEY as error:
                error.key = key
                raise
            return number
        return self._apply_once(key, increment, once)[0]

    def dec(
        self,
        key: str,
        delta: int = 1,
        *,
        initial: int = 0,
        timeout: Timeout = None,
        minimum: int | None = None,
        maximum: int | None = None,
        once: str | None = None,
    ) -> int:
        """Subtract ``delta`` from a counter and answer the new number; see :meth:`inc`."""
        return self.inc(
            key,
            -checked_integer("delta", delta),
            initial=initial,
            timeout=timeout,
            minimum=minimum,
            maximum=maximum,
            once=once,
        )

    def inc_once(
        self,
        key: str,
        token: str,
        delta: int = 1,
        *,
        initial: int = 0,
        timeout: Timeout = None,
        minimum: int | None = None,
        maximum: int | None = None,
    ) -> tuple[int, bool]:
        """Like :meth:`inc` with ``once=token``; answers also whether this was a repeat."""
        increment = self._increment(delta, initial, timeout, minimum, maximum)
        return self._apply_once(key, increment, token)

    def _apply_once(self, key: str, increment: Increment, token: str) -> tuple[int, bool]:
        self._require("once", "increments that a token applies one time")
        tokens = self.namespace("once")
        arguments = [key, *(getattr(increment, name) for name in increment.__slots__)]
        fingerprint = hashlib.sha256(repr(arguments).encode()).hexdigest()[:32].encode()
        keys = (tokens._key(token), self._key(key))
        answer: tuple[int, bool]
        once = Once(increment, fingerprint)
        try:
            answer = self.store.transact(keys, once)
        except StoreFull as error:
            answer = self._apply_with_room(keys, once, error)
        except ABOUT_A_KEY as error:
            error.key = key
            raise
        return answer

    # Read-modify-write.

    @cached_property
    def _contention(self) -> Contention:
        return Contention(self)

    def update(
        self,
        key: str,
        change: Callable[[Any], R],
        *,
        default: Any = None,
        allow_none: bool = False,
    ) -> R:
        """Replace the value by ``change(value)`` and answer the new one; the expiry is kept.

        ``change`` sees a copy of ``default`` if there is no value. It may run more than once,
        when others write at the same time, and only the last run counts; it may take its time,
        as nothing is locked meanwhile. Those who lose to others twice go on in turn. If it raises,
        nothing changes.

        :param allow_none: whether ``change`` may replace another value by ``None``.
        :raises TypeError: if it does, as one that has no ``return`` does; the value stays.
        :raises Deadlock: if ``change`` changes the same key each time, so that this cannot end.
        """
        physical = self._key(key)

        def attempt() -> tuple[bool, R]:
            (found,) = self.store.values((physical,))
            present = copy.deepcopy(default) if found is None else self._decode(found, key)
            value = change(present)
            if value is None and not (allow_none or present is None or present is ABSENT):
                raise _no_return(key, present)
            return self._swap(key, found, value)[0], value

        return self._contention.settle(key, attempt)

    def revise(
        self,
        key: str,
        change: Callable[[Item | None], R],
        *,
        timeout: Timeout | Absent = ABSENT,
    ) -> R:
        """Like :meth:`update`, for a ``change`` that decides by the whole item.

        ``change`` sees the item, or ``None``, and answers the new value, or :data:`ABSENT` to
        remove the key. ``None`` is a value here like any other.

        :param timeout: the new expiry; when left out, that of the item is kept.
        """
        physical = self._key(key)

        def attempt() -> tuple[bool, R]:
            (record,) = self.store.read((physical,))
            value = change(self._item(physical, record))
            return self._swap(key, record and record[0], value, timeout)[0], value

        return self._contention.settle(key, attempt)

    def compare_and_set(
        self, key: str, expected: Any, value: Any, *, timeout: Timeout | Absent = ABSENT
    ) -> bool:
        """Replace the value by ``value`` if it equals ``expected``; answers whether it did.

        :param expected: :data:`ABSENT` to set only if there is no value.
        :param value: :data:`ABSENT` to remove the key.
        :param timeout: the new expiry; when left out, that of the value is kept.
        """
        found = self._encode_or_absent(expected, key)
        while True:
            swapped, present = self._swap(key, found, value, timeout)
            if swapped:
                return True
            if present is None or expected is ABSENT or self._decode(present, key) != expected:
                return False
            found = present  # Equal values need not have equal bytes.

    def get_or_set(
        self, key: str, make: Callable[[], R], timeout: Timeout = None, *, lease: float = 30
    ) -> R:
        """The value; if there is none, one caller computes it with ``make()``, the others wait.

        :param lease: how long ``make`` may take. If it takes longer, or its process dies, another
            caller computes as well, and the first one to finish sets the value for all.
        :raises Deadlock: at once, if ``make`` itself asks for the value of this key.
        """
        value: R
        value = self.get(key, ABSENT)
        if value is not ABSENT:
            return value
        lock = Lock(self.namespace("compute"), key, lease=lease)
        for pause in pauses():
            if lock.try_acquire():
                break
            if lock.is_held_by_this_thread():
                raise Deadlock(
                    f"the value of the key {key!r} is computed by this thread already: make() asks "
                    "for what it shall make"
                )
            time.sleep(pause)
            value = self.get(key, ABSENT)
            if value is not ABSENT:
                return value
        try:
            value = self.get(key, ABSENT)
            if value is ABSENT:
                value = self._settle(key, make(), timeout)
            return value
        finally:
            lock.discard()

    def _settle(self, key: str, value: R, timeout: Timeout) -> R:
        """Set the value unless another one was set meanwhile; answers the one that holds."""
        while not self.add(key, value, timeout):
            present: R = self.get(key, ABSENT)
            if present is not ABSENT:
                return present
        return value

    # Many keys.

    def get_many(self, *keys: str, default: Any = None) -> list[Any]:
        """The values of ``keys``, ``default`` for each that is not there.

        As they stood together at one moment, on stores that have transactions.
        """
        found = self.store.values([self._key(key) for key in keys]) if keys else []
        return [
            default if raw is None else self._decode(raw, key)
            for key, raw in zip(keys, found, strict=False)
        ]

    def get_dict(self, *keys: str) -> dict[str, Any]:
        """Like :meth:`get_many`, as a dictionary."""
        return dict(zip(keys, self.get_many(*keys), strict=True))

    def set_many(self, mapping: Mapping[str, Any], timeout: Timeout = None) -> list[str]:
        """Set all values in one transaction, where the store has them; answers the keys."""
        seconds = self._timeout(timeout)
        self._apply_all([(key, Put(self._encode(v, key), seconds)) for key, v in mapping.items()])
        return list(mapping)

    def delete_many(self, *keys: str) -> list[str]:
        """Remove the keys in one transaction, where the store has them.

        :returns: the keys that were there.
        """
        removed = self._apply_all([(key, Remove()) for key in keys])
        return [key for key, was_there in zip(keys, removed, strict=True) if was_there]

    def inc_many(
        self,
        deltas: Mapping[str, int],
        *,
        initial: int = 0,
        timeout: Timeout = None,
        minimum: int | None = None,
        maximum: int | None = None,
    ) -> dict[str, int]:
        """Add to several counters, all or none of them; answers the new numbers by key.

        The options are those of :meth:`inc`, for each counter.

        :raises NotSupported: if the store has no transactions.
        """
        self._require("atomic_batch", "changes of several keys in one step")
        numbers = self._apply_all(
            [
                (key, self._increment(delta, initial, timeout, minimum, maximum))
                for key, delta in deltas.items()
            ]
        )
        return dict(zip(deltas, numbers, strict=True))

    def batch(self, *, max_bytes: int | None = None) -> Batch:
        """Operations on any keys of this namespace, to be collected and done in one step.

        :param max_bytes: how long the values that it reads may be together, as they are stored.
        """
        return Batch(self, max_bytes)

    # The namespace as a whole.

    def keys(self, prefix: str = "") -> list[str]:
        """The live keys that start with ``prefix``.

        A key that comes or goes meanwhile may or may not be among them.

        :raises NotSupported: if the store cannot list its keys.
        """
        found: dict[str, None] = {}
        cursor: str | None = None
        while True:
            page, cursor = self._page(prefix, cursor, _PAGE_KEYS)
            found.update(dict.fromkeys(map(self._key_text, page)))
            if cursor is None:
                return list(found)

    def items(
        self,
        prefix: str = "",
        *,
        cursor: str | None = None,
        limit: int = 100,
        max_bytes: int | None = None,
    ) -> tuple[list[Item], str | None]:
        """A page of at most ``limit`` items, and the cursor of the next one, ``None`` at the end.

        A page that is not the last one may have fewer items, or none. An item whose value cannot be
        read has an ``error``, and :data:`ABSENT` as its value.

        :param max_bytes: how long their values may be together, as they are stored: no more is
            read than that, but for an item that is longer by itself.
        :raises NotSupported: if the store cannot list its keys.
        """
        page, following = self._page(prefix, cursor, limit)
        fitting = self._fitting(page, max_bytes)
        if fitting < len(page):
            page, following = self._page(prefix, cursor, fitting)
        return self._listed(page), following

    def item(self, key: str) -> Item | None:
        """The value and its remaining time, read at one moment."""
        physical = self._key(key)
        (record,) = self.store.read((physical,))
        return self._item(physical, record)

    def clear(self) -> bool:
        """Remove all keys of this namespace and nothing else; answers ``True``."""
        self.store.clear(self.physical_prefix)
        return True

    def delete_prefix(self, prefix: str) -> int:
        """Remove the keys that start with ``prefix``; returns how many those were.

        Key by key: one that comes meanwhile may stay.

        :raises NotSupported: if the store cannot list its keys.
        """
        removed, cursor = 0, None
        while True:
            page, cursor = self._page(prefix, cursor, _PAGE_KEYS)
            removed += len(self.delete_many(*map(self._key_text, page)))
            if cursor is None:
                return removed

    def lock(self, name: str, lease: float = 30, wait: float = 10) -> Lock:
        """A lock that one client at a time holds, for ``lease`` seconds unless renewed.

        Those who wait for more than 10 ms get it in the order in which they came.

        :param wait: how long to wait for others to release it.
        """
        return Lock(self.namespace("lock"), name, lease=lease, wait=wait)

    def close(self) -> None:
        """Release what the store has open; the next operation opens it again."""
        self.store.close()


def _no_return(key: str, present: object) -> TypeError:
    return TypeError(
        f"change() returned None for the key {key!r}, which holds a {type(present).__name__}: it "
        "probably changes the value in place and forgets to return it. Return the new value; to "
        "store None, pass allow_none=True"
    )
