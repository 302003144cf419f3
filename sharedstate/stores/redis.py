"""``redis``: the records on a Redis or Valkey server, shared by all that reach it.

Every operation is one round trip: a command where Redis has one, a script of ``lua/`` where not.
Nothing is ever sent twice: a write whose answer got lost may have been applied.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from importlib.resources import files
from typing import Any, ClassVar
from urllib.parse import urlsplit, urlunsplit
from weakref import finalize

from ..errors import (
    ConfigurationError,
    NotACounter,
    NotSerializable,
    OutOfBounds,
    SharedStateError,
    StoreFull,
    StoreUnavailable,
)
from ..settings import Settings, seconds
from .base import DEFAULT_TIMEOUT, Page, Store, bad_cursor
from .drivers import import_driver
from .operations import (
    COUNTER_MAX,
    COUNTER_MIN,
    KEEP,
    NEVER,
    ONCE_SECONDS,
    Add,
    Batch,
    Exchange,
    Get,
    Increment,
    Once,
    Operation,
    Put,
    Record,
    Remove,
    Swap,
    Touch,
)

_SCAN_COUNT = 1000
_NO_LIMIT = 2**31
_END = -1
_GLOB = re.compile(rb"([\\*?\[\]^-])")


class RedisStore(Store):
    """Strings on one server; expiry is Redis' own.

    :param connect: makes a client of redis-py's; called when the store is first used.
    :param location: where the server is, for people, without a password.
    """

    name = "redis"
    scope = "network"

    def __init__(self, connect: Callable[[], Any], location: str, **options: Any) -> None:
        super().__init__(**options)
        self._redis = import_driver("redis")
        self._connect = connect
        self._location = location
        self._client: Any = None
        self._scripts: dict[str, Any] = {}

    @classmethod
    def from_settings(cls, settings: Settings) -> RedisStore:
        timeout = seconds(settings, "CACHE_TIMEOUT", DEFAULT_TIMEOUT)
        options, location = _connection(settings)
        redis = import_driver("redis")
        # A retry below us could apply a write twice.
        never = import_driver("redis.retry").Retry(import_driver("redis.backoff").NoBackoff(), 0)
        options = {
            "socket_timeout": timeout,
            "socket_connect_timeout": timeout,
            "retry": never,
            # redis-py would refuse the hundred-and-first thread or greenlet.
            "max_connections": _NO_LIMIT,
            **options,
        }
        if options.get("decode_responses"):
            raise ConfigurationError("decode_responses cannot be used: values are bytes")
        url = settings.get("CACHE_REDIS_URL")
        if url:
            return cls(lambda: redis.Redis.from_url(url, **options), location, timeout=timeout)
        return cls(lambda: redis.Redis(**options), location, timeout=timeout)

    def transact(self, keys: Sequence[bytes], operation: Operation) -> Any:
        client = self._client or self._open()
        try:
            return self._translations[type(operation)](self, client, keys, operation)
        except self._redis.RedisError as error:
            raise self._explained(error, operation) from error

    def read(self, keys: Sequence[bytes]) -> list[Record | None]:
        client = self._client or self._open()
        try:
            with client.pipeline(transaction=True) as pipe:
                for key in keys:
                    pipe.get(key).pttl(key)
                answers = pipe.execute()
        except self._redis.RedisError as error:
            raise self._explained(error) from error
        now = self.clock()
        return [
            _record(value, lifetime, now)
            for value, lifetime in zip(answers[::2], answers[1::2], strict=True)
        ]

    def values(self, keys: Sequence[bytes]) -> list[bytes | None]:
        client = self._client or self._open()
        try:
            # MGET would pass over a key that holds another type.
            found: list[bytes | None] = (
                [client.get(keys[0])] if len(keys) == 1 else client.mget(keys)
            )
        except self._redis.RedisError as error:
            raise self._explained(error) from error
        return found

    def page(self, prefix: bytes, cursor: str | None, limit: int) -> Page:
        """See :meth:`Store.page`; as SCAN's, a key may come twice while the table is resized."""
        client = self._client or self._open()
        # SCAN may answer more than it is asked for, and the same batch never again: what a page
        # has no room for goes into the cursor.
        position, keys = _position(cursor)
        try:
            while len(keys) < limit and position != _END:
                room = limit - len(keys)
                position, batch = client.scan(max(position, 0), match=_pattern(prefix), count=room)
                position = position or _END
                keys += batch
        except self._redis.RedisError as error:
            raise self._explained(error) from error
        keys, rest = keys[:limit], keys[limit:]
        is_last = position == _END and not rest
        return keys, None if is_last else ":".join([str(position), *(key.hex() for key in rest)])

    def clear(self, prefix: bytes) -> None:
        client = self._client or self._open()
        try:
            position = None
            while position != 0:
                position, batch = client.scan(
                    position or 0, match=_pattern(prefix), count=_SCAN_COUNT
                )
                if batch:
                    client.unlink(*batch)
        except self._redis.RedisError as error:
            raise self._explained(error) from error

    def ping(self) -> None:
        try:
            (self._client or self._open()).ping()
        except self._redis.RedisError as error:
            raise self._explained(error) from error

    def describe(self) -> dict[str, Any]:
        return {"location": self._location, "durability": "as the server is configured"}

    def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def after_fork_in_child(self) -> None:
        if self._client is not None:
            self._client = None
            self._closer.detach()

    def _open(self) -> Any:
        client = self._connect()
        prelude = _source("counter")
        self._scripts = {
            name: client.register_script(prelude + _source(name))
            for name in ("increment", "once", "swap", "touch", "batch")
        }
        self._closer = finalize(self, client.close)
        self._client = client
        return client

    # What each operation is in Redis.

    def _get(self, client: Any, keys: Sequence[bytes], operation: Get) -> Record | None:
        return self.read(keys)[0]

    def _put(self, client: Any, keys: Sequence[bytes], put: Put) -> None:
        client.set(keys[0], put.value, px=_milliseconds(put.timeout) or None)

    def _exchange(self, client: Any, keys: Sequence[bytes], put: Exchange) -> bytes | None:
        found: bytes | None = client.set(
            keys[0], put.value, px=_milliseconds(put.timeout) or None, get=True
        )
        return found

    def _add(self, client: Any, keys: Sequence[bytes], put: Add) -> bool:
        return bool(client.set(keys[0], put.value, px=_milliseconds(put.timeout) or None, nx=True))

    def _remove(self, client: Any, keys: Sequence[bytes], operation: Remove) -> bool:
        return bool(client.unlink(keys[0]))

    def _touch(self, client: Any, keys: Sequence[bytes], touch: Touch) -> bool:
        return bool(self._scripts["touch"](keys, (_milliseconds(touch.timeout),)))

    def _increment(self, client: Any, keys: Sequence[bytes], increment: Increment) -> int:
        if _is_plain(increment):
            number: int = client.execute_command("INCRBY", keys[0], increment.delta)
            return number
        return int(self._scripts["increment"](keys, _arguments(increment)))

    def _swap(self, client: Any, keys: Sequence[bytes], swap: Swap) -> tuple[bool, bytes | None]:
        swapped, found = self._scripts["swap"](
            keys,
            (
                int(swap.expected is not None),
                swap.expected or b"",
                int(swap.value is not None),
                swap.value or b"",
                -1 if swap.timeout == KEEP else _milliseconds(swap.timeout),
                _milliseconds(swap.default_timeout),
            ),
        )
        return bool(swapped), found

    def _once(self, client: Any, keys: Sequence[bytes], once: Once) -> tuple[int, bool]:
        arguments = (*_arguments(once.increment), once.fingerprint, _milliseconds(ONCE_SECONDS))
        memo, replayed = self._scripts["once"](keys, arguments)
        return once.replay(memo), bool(replayed)

    def _batch(self, client: Any, keys: Sequence[bytes], batch: Batch) -> list[Any]:
        arguments: list[Any] = []
        for position, operation in batch.steps:
            own = _arguments(operation)
            arguments += [type(operation).__name__, position + 1, len(own), *own]
        answers = self._scripts["batch"](keys, arguments)
        now = self.clock()
        return [
            _batch_answer(operation, answer, now)
            for (_, operation), answer in zip(batch.steps, answers, strict=True)
        ]

    _translations: ClassVar[dict[type[Operation], Callable[..., Any]]] = {
        Get: _get,
        Put: _put,
        Exchange: _exchange,
        Add: _add,
        Remove: _remove,
        Touch: _touch,
        Increment: _increment,
        Swap: _swap,
        Once: _once,
        Batch: _batch,
    }

    # Errors.

    def _explained(self, error: Exception, operation: Operation | None = None) -> SharedStateError:
        """The library's error for one of redis-py's."""
        redis, text = self._redis, str(error)
        if isinstance(error, redis.exceptions.OutOfMemoryError):
            return StoreFull(f"Redis at {self._location} is full: {text}")
        if isinstance(error, redis.exceptions.ResponseError):
            increment = _increment_in(operation, text)
            if increment and ("overflow" in text or "OutOfBounds" in text):
                return OutOfBounds(increment.minimum, increment.maximum)
            if increment and re.search("NotACounter|not an integer|WRONGTYPE", text):
                return NotACounter("the key holds something other than a signed 64-bit integer")
            if "WRONGTYPE" in text:
                return NotSerializable("the key holds a Redis type that is not a string")
        lost = (
            isinstance(error, (redis.exceptions.ConnectionError, redis.exceptions.TimeoutError))
            and not isinstance(error, redis.exceptions.AuthenticationError)
            and "connecting to" not in text
        )
        return StoreUnavailable(
            f"Redis at {self._location} is not available: {text}",
            outcome_unknown=lost and operation is not None and operation.writes,
        )


def _increment_in(operation: Operation | None, text: str) -> Increment | None:
    """The increment that an error is about; one in a batch is named by its position."""
    if isinstance(operation, Once):
        return operation.increment
    if isinstance(operation, Batch):
        failed = re.search(r"operation (\d+)", text)
        operation = operation.steps[int(failed[1]) - 1][1] if failed else None
    return operation if isinstance(operation, Increment) else None


def _connection(settings: Settings) -> tuple[dict[str, Any], str]:
    """Keyword arguments for redis-py, and the address without what is secret."""
    options = dict(settings.get("CACHE_OPTIONS") or {})
    url = settings.get("CACHE_REDIS_URL")
    if url:
        parts = urlsplit(url)
        address = parts.netloc.rpartition("@")[2]
        location = urlunsplit((parts.scheme, address, parts.path, "", ""))
    else:
        options["host"] = settings.get("CACHE_REDIS_HOST") or "localhost"
        options["port"] = settings.get("CACHE_REDIS_PORT") or 6379
        location = f"redis://{options['host']}:{options['port']}"
    for name in ("db", "password", "username"):
        value = settings.get(f"CACHE_REDIS_{name.upper()}")
        if value is not None:
            options[name] = value
    return options, location


def _source(name: str) -> str:
    return files(__package__).joinpath("lua", f"{name}.lua").read_text()


def _milliseconds(timeout: float) -> int:
    return round(timeout * 1000)


def _is_plain(increment: Increment) -> bool:
    """Whether INCRBY alone does what is asked."""
    return (
        not increment.initial
        and not increment.timeout
        and increment.minimum == COUNTER_MIN
        and increment.maximum == COUNTER_MAX
    )


def _arguments(operation: Operation) -> tuple[Any, ...]:
    """What the scripts take for an operation."""
    if isinstance(operation, Increment):
        return (
            operation.delta,
            operation.initial,
            _milliseconds(operation.timeout),
            operation.minimum,
            operation.maximum,
        )
    if isinstance(operation, Put):
        return operation.value, _milliseconds(operation.timeout)
    return ()


def _batch_answer(operation: Operation, answer: Any, now: float) -> Any:
    if isinstance(operation, Increment):
        return int(answer)
    if isinstance(operation, Remove):
        return bool(answer)
    return _record(answer[0], answer[1], now) if isinstance(operation, Get) else None


def _record(value: bytes | None, lifetime: int, now: float) -> Record | None:
    """The record of a GET and a PTTL."""
    if value is None:
        return None
    return value, NEVER if lifetime < 0 else now + lifetime / 1000


def _position(cursor: str | None) -> tuple[int, list[bytes]]:
    """SCAN's cursor, and the keys that come before it."""
    try:
        position, *keys = (cursor or "0").split(":")
        return int(position), [bytes.fromhex(key) for key in keys]
    except ValueError:
        raise bad_cursor() from None


def _pattern(prefix: bytes) -> bytes:
    # Without a prefix: every key but the library's own.
    return _GLOB.sub(rb"\\\1", prefix) + b"*" if prefix else b"[^\x00]*"
