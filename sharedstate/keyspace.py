"""One namespace of a store: keys, values and timeouts in the form in which the store has them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from hashlib import blake2b
from itertools import accumulate
from typing import Any, NamedTuple, Self

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
    NotACounter,
    NotSerializable,
    NotSupported,
    OutOfBounds,
    StoreFull,
    ValueTooLarge,
)
from .eviction import is_result, write_with_room
from .settings import Settings, byte_count, key_prefix
from .stores.base import Store
from .stores.operations import (
    COUNTER_MAX,
    COUNTER_MIN,
    KEEP,
    NEVER,
    Batch,
    Increment,
    Operation,
    Record,
    Swap,
)
from .stores.registry import open_store

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


class Namespace:
    """Encodes what goes to the store and decodes what comes back; what all operations share."""

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
    def from_settings(cls, settings: Settings) -> Self:
        """The state that a Flask configuration's ``CACHE_*`` keys describe, not yet opened."""
        return cls(
            open_store(settings),
            codec=codec_from(settings),
            prefix=key_prefix(settings),
            default_timeout=default_timeout(settings, 0),
            max_value_bytes=byte_count(settings, "CACHE_MAX_VALUE_BYTES", MAX_VALUE_BYTES),
        )

    def namespace(self, name: str, codec: Codec | None = None) -> Self:
        """A state of its own on the same store, which no key of this one reaches."""
        return type(self)(
            self.store,
            codec=codec or self.codec,
            prefix=self.key_prefix,
            default_timeout=self.default_timeout,
            max_value_bytes=self.max_value_bytes,
            namespace=f"{self._namespace}/{name}" if self._namespace else name,
        )

    def version(self, value: Any) -> str:
        """The :attr:`Item.version` of a value that this writes."""
        return _version(self._encode(value))

    def _apply(self, key: str, operation: Operation) -> Any:
        keys = (self._key(key),)
        try:
            return self.store.transact(keys, operation)
        except StoreFull as error:
            return self._apply_with_room(keys, operation, error)
        except ABOUT_A_KEY as error:
            error.key = key
            raise

    def _apply_with_room(self, keys: Sequence[bytes], operation: Operation, full: StoreFull) -> Any:
        """What the operation returns once cached results have made room for it."""
        transact = self.store.transact
        return write_with_room(self.store, self.key_prefix, lambda: transact(keys, operation), full)

    def _apply_all(
        self, steps: Iterable[tuple[str, Operation]], max_bytes: int | None = None
    ) -> list[Any]:
        steps = list(steps)
        operations = [(self._key(key), operation) for key, operation in steps]
        if not operations:
            return []
        if "atomic_batch" not in self.store.can:
            return [self._apply(key, operation) for key, operation in steps]
        positions = {key: i for i, key in enumerate(dict.fromkeys(key for key, _ in operations))}
        batch = Batch([(positions[key], operation) for key, operation in operations], max_bytes)
        keys = tuple(positions)
        answers: list[Any]
        try:
            answers = self.store.transact(keys, batch)
        except StoreFull as error:
            answers = self._apply_with_room(keys, batch, error)
        except ABOUT_A_KEY as error:
            error.key = None if error.step is None else steps[error.step][0]
            raise
        return answers

    def _swap(
        self, key: str, found: bytes | None, value: Any, timeout: Timeout | Absent = ABSENT
    ) -> tuple[bool, bytes | None]:
        seconds = KEEP if isinstance(timeout, Absent) else self._timeout(timeout)
        new = self._encode_or_absent(value, key)
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

    def _listed(self, keys: list[bytes]) -> list[Item]:
        """The items of a page, with the error of each that cannot be read."""
        records = self.store.read(keys) if keys else []
        pairs = zip(keys, records, strict=True)
        return [self._listed_item(key, record) for key, record in pairs if record is not None]

    def _listed_item(self, key: bytes, record: Record) -> Item:
        try:
            return self._readable_item(key, record)
        except NotSerializable as error:
            name, ttl = self._key_text(key), self._remaining(record)
            return Item(name, ABSENT, ttl, _version(record[0]), error)

    def _item(self, key: bytes, record: Record | None) -> Item | None:
        return None if record is None else self._readable_item(key, record)

    def _readable_item(self, key: bytes, record: Record) -> Item:
        raw, name = record[0], self._key_text(key)
        return Item(name, self._decode(raw, name), self._remaining(record), _version(raw))

    def _page(self, prefix: str, cursor: str | None, limit: int) -> tuple[list[bytes], str | None]:
        self._require("keys", "listing its keys")
        if limit < 1:
            raise ValueError(f"a page has room for at least one item, not {limit}")
        start = checked_key(prefix) if prefix else b""
        keys, following = self.store.page(self.physical_prefix + start, cursor, limit)
        return list(dict.fromkeys(filter(self._is_own, keys))), following

    def _fitting(self, keys: list[bytes], max_bytes: int | None) -> int:
        """How many of the first keys hold at most ``max_bytes`` together, but at least one."""
        if max_bytes is None or len(keys) * self.max_value_bytes <= max_bytes:
            return len(keys)
        sums = accumulate(self.store.sizes(keys))
        return max(sum(size <= max_bytes for size in sums), 1)

    def _is_own(self, physical: bytes) -> bool:
        """Whether a key with the prefix is of this namespace, and not that of a cached result."""
        return not is_result(physical)

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

    def _decode(self, raw: bytes, key: str) -> Any:
        try:
            return self.codec.decode(raw)
        except NotSerializable as error:
            error.key = key
            raise

    def _encode(self, value: Any, key: str | None = None) -> bytes:
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

    def _encode_or_absent(self, value: Any, key: str) -> bytes | None:
        return None if value is ABSENT else self._encode(value, key)

    def _timeout(self, timeout: Timeout) -> float:
        return self.default_timeout if timeout is None else checked_seconds(timeout)


def _version(raw: bytes) -> str:
    return blake2b(raw, digest_size=16).hexdigest()


def default_timeout(settings: Settings, otherwise: float) -> float:
    """``CACHE_DEFAULT_TIMEOUT`` in seconds, or ``otherwise`` where it is not set."""
    timeout = settings.get("CACHE_DEFAULT_TIMEOUT")
    if timeout is None:
        timeout = otherwise
    try:
        return checked_seconds(float(timeout) if isinstance(timeout, str) else timeout)
    except (TypeError, ValueError) as error:
        raise ConfigurationError(f"CACHE_DEFAULT_TIMEOUT: {error}") from error
