"""One namespace of a store: keys, values and timeouts in the form in which the store has them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from hashlib import blake2b
from typing import Any, NamedTuple

from ..codec import Codec, PickleCodec
from ..errors import (
    InvalidKey,
    NotACounter,
    NotSerializable,
    NotSupported,
    OutOfBounds,
    StoreFull,
    ValueTooLarge,
)
from ..stores.base import Store
from ..stores.operations import KEEP, NEVER, Batch, Increment, Operation, Record, Swap
from .arguments import (
    ABSENT,
    MIN_TIMEOUT,
    Absent,
    Timeout,
    checked_increment,
    checked_key,
    checked_seconds,
)
from .eviction import is_result, place, write_with_room

MAX_VALUE_BYTES = 1 << 20

ABOUT_A_KEY = (NotACounter, NotSerializable, OutOfBounds, ValueTooLarge)
"""What a store raises of one key, which is then named."""


class Item(NamedTuple):
    """A key with what it holds."""

    key: str
    value: Any
    ttl: float
    """Seconds until it expires, 0 if it never does."""
    version: str
    """A hash of the stored bytes: equal for equal ones, another for any others."""
    error: NotSerializable | None = None
    """In a listing, why the value cannot be read; ``value`` is :data:`ABSENT` then."""


@dataclass(slots=True, eq=False)
class Keyspace:
    """What a state and its batches have: a part of a store, and how keys and values are put there.

    It checks keys, encodes and decodes values, resolves timeouts, and does operations, naming the
    caller's key in their errors. It is not changed once it is made; use
    :func:`dataclasses.replace` for another one.
    """

    store: Store
    codec: Codec = field(default_factory=PickleCodec)
    key_prefix: str = ""
    default_timeout: float = 0
    """Seconds; 0: never."""
    max_value_bytes: int = MAX_VALUE_BYTES
    """How long an encoded value may be."""
    namespace: str = ""
    """The names of the namespaces, from the outermost one, with ``/`` between them."""
    holds_results: bool = False
    """Whether its keys are those of cached results."""

    physical_prefix: bytes = field(init=False)
    """What the keys begin with in the store."""
    increment: Callable[[int, int, Timeout, int | None, int | None], Increment] = field(init=False)
    """The operation for the arguments ``delta, initial, timeout, minimum, maximum``, checked."""
    _suffix: bytes = field(init=False)
    _physical: Callable[[str], bytes] = field(init=False)

    def __post_init__(self) -> None:
        self.default_timeout = checked_seconds(self.default_timeout)
        space = f"\0{self.namespace}:" if self.namespace else ""
        start, end = (space + self.key_prefix).encode(), b""
        if self.holds_results:
            start, end = place(self.store, self.key_prefix)
        self.physical_prefix, self._suffix = start, end
        # Both are pure functions of what callers mostly repeat. They must not hold this object:
        # it would be a circle, and stay until the garbage collector comes.
        self._physical = lru_cache(maxsize=1024)(partial(_physical_key, start, end))
        make = partial(checked_increment, self.default_timeout)
        self.increment = lru_cache(maxsize=256, typed=True)(make)

    # Keys.

    def key(self, key: str) -> bytes:
        """The key as the store has it.

        :raises InvalidKey: if it is not one that every store can hold.
        """
        try:
            return self._physical(key)
        except TypeError:  # From the cache of keys, about one that cannot be in a dictionary.
            raise InvalidKey(f"a key must be text, not {type(key).__name__}") from None

    def text(self, physical: bytes) -> str:
        """The key as the caller has it."""
        return physical.removesuffix(self._suffix)[len(self.physical_prefix) :].decode()

    def is_own(self, physical: bytes) -> bool:
        """Whether a key that begins with the prefix is one of this keyspace."""
        return physical.endswith(self._suffix) if self.holds_results else not is_result(physical)

    # Values and timeouts.

    def encode(self, value: Any, key: str | None = None) -> bytes:
        """The bytes of a value.

        :raises NotSerializable: if the codec cannot store it; names ``key``.
        :raises ValueTooLarge: if it is longer than ``max_value_bytes``; names ``key``.
        """
        try:
            if value is ABSENT:
                raise NotSerializable("ABSENT stands for no value; delete the key instead")
            raw = self.codec.encode(value)
            if len(raw) > self.max_value_bytes:
                raise ValueTooLarge(len(raw), self.max_value_bytes)
            return raw
        except (NotSerializable, ValueTooLarge) as error:
            error.key = key
            raise

    def encode_or_absent(self, value: Any, key: str) -> bytes | None:
        """Like :meth:`encode`; ``None`` for :data:`ABSENT`."""
        return None if value is ABSENT else self.encode(value, key)

    def decode(self, raw: bytes, key: str) -> Any:
        """The value of stored bytes.

        :raises NotSerializable: if the codec cannot read them; names ``key``.
        """
        try:
            return self.codec.decode(raw)
        except NotSerializable as error:
            error.key = key
            raise

    def value(self, key: str, default: Any = None) -> Any:
        """What the key holds, or ``default``."""
        (raw,) = self.store.values((self.key(key),))
        return default if raw is None else self.decode(raw, key)

    def seconds(self, timeout: Timeout) -> float:
        """The timeout in seconds, 0 for ever; ``None`` means ``default_timeout``."""
        return self.default_timeout if timeout is None else checked_seconds(timeout)

    def remaining(self, record: Record) -> float:
        """Seconds until a record expires, 0 if it never does."""
        return 0 if record[1] == NEVER else max(record[1] - self.store.clock(), MIN_TIMEOUT)

    def item(self, physical: bytes, record: Record | None) -> Item | None:
        """The item of a record, ``None`` if there is none.

        :raises NotSerializable: if the value cannot be read; names the key.
        """
        if record is None:
            return None
        raw, key = record[0], self.text(physical)
        return Item(key, self.decode(raw, key), self.remaining(record), version(raw))

    # Operations.

    def require(self, ability: str, what: str) -> None:
        """Raise :exc:`NotSupported` unless the store has the ability."""
        if ability not in self.store.can:
            raise NotSupported(f"the store {self.store.name!r} does not support {what}")

    def apply(self, key: str, operation: Operation) -> Any:
        """Do an operation on one key; returns its result. What it raises names the key."""
        return self.transact((self.key(key),), operation, key)

    def transact(self, keys: Sequence[bytes], operation: Operation, key: str) -> Any:
        """Do an operation on keys as the store has them; what it raises names ``key``.

        Where the store is full, cached results make room for it.
        """
        try:
            return self.store.transact(keys, operation)
        except StoreFull as error:
            return self.transact_with_room(keys, operation, error)
        except ABOUT_A_KEY as error:
            error.key = key
            raise

    def transact_with_room(
        self, keys: Sequence[bytes], operation: Operation, full: StoreFull
    ) -> Any:
        """Do an operation that raised ``full`` once cached results have made room for it."""
        transact = self.store.transact
        return write_with_room(self.store, self.key_prefix, lambda: transact(keys, operation), full)

    def apply_all(
        self,
        steps: Iterable[tuple[str, Operation]],
        max_bytes: int | None = None,
        *,
        divisible: bool = False,
    ) -> list[Any]:
        """Do operations on a key each, in one transaction where the store has them.

        :param max_bytes: how long the values that they read may be together.
        :param divisible: whether those on different nodes of a store may be done one by one.
        :returns: their results. If one raises, none is done where there are transactions.
        """
        steps = list(steps)
        operations = [(self.key(key), operation) for key, operation in steps]
        if not operations:
            return []
        if "atomic_batch" not in self.store.can:
            return [self.apply(key, operation) for key, operation in steps]
        positions = {key: i for i, key in enumerate(dict.fromkeys(key for key, _ in operations))}
        numbered = [(positions[key], operation) for key, operation in operations]
        keys, batch = tuple(positions), Batch(numbered, max_bytes, divisible)
        results: list[Any]
        try:
            results = self.store.transact(keys, batch)
        except StoreFull as error:
            results = self.transact_with_room(keys, batch, error)
        except ABOUT_A_KEY as error:
            error.key = None if error.step is None else steps[error.step][0]
            raise
        return results

    def swap(
        self, key: str, found: bytes | None, value: Any, timeout: Timeout | Absent = ABSENT
    ) -> tuple[bool, bytes | None]:
        """Replace the value if its bytes are ``found``, in one step.

        :param found: ``None`` for no value.
        :param value: :data:`ABSENT` to remove the key.
        :param timeout: :data:`ABSENT` to keep the expiry.
        :returns: whether it was replaced, and the bytes that were there.
        """
        return self.swap_raw(key, found, self.encode_or_absent(value, key), timeout)

    def swap_raw(
        self, key: str, found: bytes | None, new: bytes | None, timeout: Timeout | Absent = ABSENT
    ) -> tuple[bool, bytes | None]:
        """Like :meth:`swap`, with the bytes of the new value; ``None`` to remove the key."""
        seconds = KEEP if isinstance(timeout, Absent) else self.seconds(timeout)
        result: tuple[bool, bytes | None]
        result = self.apply(key, Swap(found, new, seconds, self.default_timeout))
        return result


def version(raw: bytes) -> str:
    """The :attr:`Item.version` of stored bytes."""
    return blake2b(raw, digest_size=16).hexdigest()


def _physical_key(start: bytes, end: bytes, key: str) -> bytes:
    return start + checked_key(key) + end
