"""The contract: every operation on shared state, on any store."""

from __future__ import annotations

import copy
import hashlib
import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from .arguments import (
    ABSENT,
    MIN_TIMEOUT,
    Absent,
    Timeout,
    checked_integer,
    checked_key,
    checked_seconds,
)
from .codec import Codec, PickleCodec, codec_from
from .errors import (
    ConfigurationError,
    InvalidKey,
    NotSerializable,
    NotSupported,
    ValueTooLarge,
)
from .lock import Lock
from .settings import Settings, byte_count, key_prefix
from .stores import open_store
from .stores.base import Store
from .stores.operations import (
    COUNTER_MAX,
    COUNTER_MIN,
    KEEP,
    NEVER,
    Add,
    Batch,
    Exchange,
    Increment,
    Once,
    Operation,
    Put,
    Record,
    Remove,
    Swap,
    Touch,
)

MAX_VALUE_BYTES = 1 << 20
_PAGE_KEYS = 1000


class Item(NamedTuple):
    """A key with what it holds."""

    key: str
    value: Any
    ttl: float
    """Seconds until it expires, 0 if it never does."""


class State:
    """Values and counters in one namespace of a store.

    Every operation on a key is atomic among all that share the store, and all of them together
    are linearizable: there is one order of them that agrees with real time. Timeouts and leases
    are in seconds, fractions allowed; ``timeout=None`` means ``default_timeout`` and 0 means for
    ever. Nothing is ever evicted.

    Every operation raises :exc:`InvalidKey` for a key that is not text of 1 to 250 UTF-8 bytes
    without control characters, and :exc:`StoreUnavailable` within ``CACHE_TIMEOUT`` seconds if
    the store does not answer; one that stores a value raises :exc:`NotSerializable`,
    :exc:`ValueTooLarge` and :exc:`StoreFull`.
    """

    def __init__(
        self,
        store: Store,
        *,
        codec: Codec | None = None,
        prefix: str = "",
        default_timeout: float = 0,
        max_value_bytes: int = MAX_VALUE_BYTES,
        namespace: str = "",
    ) -> None:
        self.store = store
        self.codec = codec or PickleCodec()
        self.key_prefix = prefix
        self.default_timeout = checked_seconds(default_timeout)
        self.max_value_bytes = max_value_bytes
        self._namespace = namespace
        space = f"\0{namespace}:" if namespace else ""
        self.physical_prefix = (space + prefix).encode()
        # Both are pure functions of what callers mostly repeat.
        self._physical = lru_cache(maxsize=1024)(self._make_key)
        self._increment = lru_cache(maxsize=256, typed=True)(self._make_increment)

    @classmethod
    def from_settings(cls, settings: Settings) -> State:
        """The state that a Flask configuration's ``CACHE_*`` keys describe, not yet opened."""
        return cls(
            open_store(settings),
            codec=codec_from(settings),
            prefix=key_prefix(settings),
            default_timeout=_default_timeout(settings),
            max_value_bytes=byte_count(settings, "CACHE_MAX_VALUE_BYTES", MAX_VALUE_BYTES),
        )

    def namespace(self, name: str, codec: Codec | None = None) -> State:
        """A state of its own on the same store, which no key of this one reaches."""
        return State(
            self.store,
            codec=codec or self.codec,
            prefix=self.key_prefix,
            default_timeout=self.default_timeout,
            max_value_bytes=self.max_value_bytes,
            namespace=f"{self._namespace}/{name}" if self._namespace else name,
        )

    # Values.

    def get(self, key: str, default: Any = None) -> Any:
        """The value, or ``default`` if there is none; a stored ``None`` is a value."""
        (raw,) = self.store.values((self._key(key),))
        return default if raw is None else self.codec.decode(raw)

    def set(self, key: str, value: Any, timeout: Timeout = None) -> bool:
        """Store the value, whatever was there, to expire after ``timeout``; answers ``True``."""
        self._apply(key, Put(self._encode(value), self._timeout(timeout)))
        return True

    def put(self, key: str, value: Any, timeout: Timeout = None) -> bool:
        """Store the value like :meth:`set`; answers whether the key is new."""
        operation = Exchange(self._encode(value), self._timeout(timeout))
        return self._apply(key, operation) is None

    def add(self, key: str, value: Any, timeout: Timeout = None) -> bool:
        """Store the value if there is none; answers whether it did. One of many callers wins."""
        added: bool = self._apply(key, Add(self._encode(value), self._timeout(timeout)))
        return added

    def exchange(self, key: str, value: Any, timeout: Timeout = None, default: Any = None) -> Any:
        """Store the value like :meth:`set` and answer the one that was there, or ``default``.

        :raises NotSerializable: also if the one that was there cannot be read; it is gone then.
        """
        raw = self._apply(key, Exchange(self._encode(value), self._timeout(timeout)))
        return default if raw is None else self.codec.decode(raw)

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
            number: int = self.store.transact((self._key(key),), increment)
            return number
        return self._inc_once(key, increment, once)[0]

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

    def _inc_once(self, key: str, increment: Increment, token: str) -> tuple[int, bool]:
        self._require("once", "increments that a token applies one time")
        tokens = self.namespace("once")
        arguments = [key, *(getattr(increment, name) for name in increment.__slots__)]
        fingerprint = hashlib.sha256(repr(arguments).encode()).hexdigest()[:32].encode()
        keys = (tokens._key(token), self._key(key))
        answer: tuple[int, bool] = self.store.transact(keys, Once(increment, fingerprint))
        return answer

    # Read-modify-write.

    def update(self, key: str, change: Callable[[Any], Any], *, default: Any = None) -> Any:
        """Replace the value by ``change(value)`` and answer the new one; the expiry is kept.

        ``change`` sees a copy of ``default`` if there is no value. It may run more than once,
        when others write at the same time, and only the last run counts; it may take its time,
        as nothing is locked meanwhile. If it raises, nothing changes.
        """
        for pause in pauses():
            (found,) = self.store.values((self._key(key),))
            present = copy.deepcopy(default) if found is None else self.codec.decode(found)
            value = change(present)
            if self._swap(key, found, value)[0]:
                return value
            time.sleep(pause)
        raise AssertionError  # pragma: no cover - the pauses never end

    def compare_and_set(
        self, key: str, expected: Any, value: Any, *, timeout: Timeout | Absent = ABSENT
    ) -> bool:
        """Replace the value by ``value`` if it equals ``expected``; answers whether it did.

        :param expected: :data:`ABSENT` to set only if there is no value.
        :param value: :data:`ABSENT` to remove the key.
        :param timeout: the new expiry; when left out, that of the value is kept.
        """
        found = self._encode_or_absent(expected)
        while True:
            swapped, present = self._swap(key, found, value, timeout)
            if swapped:
                return True
            if present is None or expected is ABSENT or self.codec.decode(present) != expected:
                return False
            found = present  # Equal values need not have equal bytes.

    def get_or_set(
        self, key: str, make: Callable[[], Any], timeout: Timeout = None, *, lease: float = 30
    ) -> Any:
        """The value; if there is none, one caller computes it with ``make()``, the others wait.

        :param lease: how long ``make`` may take. If it takes longer, or its process dies, another
            caller computes as well, and the first one to finish sets the value for all.
        """
        value = self.get(key, ABSENT)
        if value is not ABSENT:
            return value
        lock = Lock(self.namespace("compute"), key, lease=lease)
        for pause in pauses():
            if lock.try_acquire():
                break
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

    def _settle(self, key: str, value: Any, timeout: Timeout) -> Any:
        """Set the value unless another one was set meanwhile; answers the one that holds."""
        while not self.add(key, value, timeout):
            present = self.get(key, ABSENT)
            if present is not ABSENT:
                return present
        return value

    # Many keys.

    def get_many(self, *keys: str) -> list[Any]:
        """The values of ``keys``, ``None`` for each that is not there.

        As they stood together at one moment, on stores that have transactions.
        """
        found = self.store.values([self._key(key) for key in keys]) if keys else []
        return [None if raw is None else self.codec.decode(raw) for raw in found]

    def get_dict(self, *keys: str) -> dict[str, Any]:
        """Like :meth:`get_many`, as a dictionary."""
        return dict(zip(keys, self.get_many(*keys), strict=True))

    def set_many(self, mapping: Mapping[str, Any], timeout: Timeout = None) -> list[str]:
        """Set all values in one transaction, where the store has them; answers the keys."""
        seconds = self._timeout(timeout)
        self._apply_all([(key, Put(self._encode(v), seconds)) for key, v in mapping.items()])
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
        self, prefix: str = "", *, cursor: str | None = None, limit: int = 100
    ) -> tuple[list[Item], str | None]:
        """A page of at most ``limit`` items, and the cursor of the next one, ``None`` at the end.

        :raises NotSupported: if the store cannot list its keys.
        """
        page, following = self._page(prefix, cursor, limit)
        return [item for item in self._items(page) if item is not None], following

    def item(self, key: str) -> Item | None:
        """The value and its remaining time, read at one moment."""
        return self._items([self._key(key)])[0]

    def clear(self) -> bool:
        """Remove all keys of this namespace and nothing else; answers ``True``."""
        self.store.clear(self.physical_prefix)
        return True

    def lock(self, name: str, lease: float = 30, wait: float = 10) -> Lock:
        """A lock that one client at a time holds, for ``lease`` seconds unless renewed.

        :param wait: how long to wait for others to release it.
        """
        return Lock(self.namespace("lock"), name, lease=lease, wait=wait)

    def close(self) -> None:
        """Release what the store has open; the next operation opens it again."""
        self.store.close()

    # What the operations share.

    def _apply(self, key: str, operation: Operation) -> Any:
        return self.store.transact((self._key(key),), operation)

    def _apply_all(self, steps: Iterable[tuple[str, Operation]]) -> list[Any]:
        operations = [(self._key(key), operation) for key, operation in steps]
        if not operations:
            return []
        if "atomic_batch" not in self.store.can:
            return [self.store.transact((key,), operation) for key, operation in operations]
        positions = {key: i for i, key in enumerate(dict.fromkeys(key for key, _ in operations))}
        batch = Batch([(positions[key], operation) for key, operation in operations])
        answers: list[Any] = self.store.transact(tuple(positions), batch)
        return answers

    def _swap(
        self, key: str, found: bytes | None, value: Any, timeout: Timeout | Absent = ABSENT
    ) -> tuple[bool, bytes | None]:
        seconds = KEEP if isinstance(timeout, Absent) else self._timeout(timeout)
        new = self._encode_or_absent(value)
        operation = Swap(found, new, seconds, self.default_timeout)
        answer: tuple[bool, bytes | None] = self._apply(key, operation)
        return answer

    def _make_increment(
        self,
        delta: int,
        initial: int,
        timeout: Timeout,
        minimum: int | None,
        maximum: int | None,
    ) -> Increment:
        return Increment(
            checked_integer("delta", delta),
            checked_integer("initial", initial),
            self._timeout(timeout),
            COUNTER_MIN if minimum is None else checked_integer("minimum", minimum),
            COUNTER_MAX if maximum is None else checked_integer("maximum", maximum),
        )

    def _items(self, keys: list[bytes]) -> list[Item | None]:
        return [
            record
            and Item(self._key_text(key), self.codec.decode(record[0]), self._remaining(record))
            for key, record in zip(keys, self.store.read(keys) if keys else [], strict=True)
        ]

    def _page(self, prefix: str, cursor: str | None, limit: int) -> tuple[list[bytes], str | None]:
        self._require("keys", "listing its keys")
        if limit < 1:
            raise ValueError(f"a page has room for at least one item, not {limit}")
        start = checked_key(prefix) if prefix else b""
        return self.store.page(self.physical_prefix + start, cursor, limit)

    def _require(self, ability: str, what: str) -> None:
        if ability not in self.store.can:
            raise NotSupported(f"the store {self.store.name!r} does not support {what}")

    def _remaining(self, record: Record) -> float:
        return 0 if record[1] == NEVER else max(record[1] - self.store.clock(), MIN_TIMEOUT)

    def _key(self, key: str) -> bytes:
        try:
            return self._physical(key)
        except TypeError:  # From the cache of keys, about one that cannot be in a dictionary.
            raise InvalidKey(f"a key must be text, not {type(key).__name__}") from None

    def _make_key(self, key: str) -> bytes:
        return self.physical_prefix + checked_key(key)

    def _key_text(self, physical: bytes) -> str:
        return physical[len(self.physical_prefix) :].decode()

    def _encode(self, value: Any) -> bytes:
        if value is ABSENT:
            raise NotSerializable("ABSENT stands for no value; delete the key instead")
        raw = self.codec.encode(value)
        if len(raw) > self.max_value_bytes:
            raise ValueTooLarge(len(raw), self.max_value_bytes)
        return raw

    def _encode_or_absent(self, value: Any) -> bytes | None:
        return None if value is ABSENT else self._encode(value)

    def _timeout(self, timeout: Timeout) -> float:
        return self.default_timeout if timeout is None else checked_seconds(timeout)


def _default_timeout(settings: Settings) -> float:
    timeout = settings.get("CACHE_DEFAULT_TIMEOUT") or 0
    try:
        return checked_seconds(float(timeout) if isinstance(timeout, str) else timeout)
    except (TypeError, ValueError) as error:
        raise ConfigurationError(f"CACHE_DEFAULT_TIMEOUT: {error}") from error


def pauses() -> Iterator[float]:
    """Random pauses that grow to 10 ms, so that many that want the same get in turn."""
    longest = 0.0001
    while True:
        yield random.random() * longest
        longest = min(2 * longest, 0.01)
