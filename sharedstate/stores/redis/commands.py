"""What each operation is in Redis: a command where it has one, a script of ``lua/`` where not."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from importlib.resources import files
from typing import Any

from ...errors import NotACounter, NotSerializable, OutOfBounds, ResultTooLarge, SharedStateError
from ..operations import (
    COUNTER_MAX,
    COUNTER_MIN,
    KEEP,
    NEVER,
    NO_COUNTER,
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
from ..support.drivers import import_driver

Keys = Sequence[bytes]


def _source(name: str) -> str:
    return files(__package__).joinpath("lua", f"{name}.lua").read_text()


# Read with the module: reading takes Python's import lock, which a fork may copy.
_SCRIPTS = {
    name: _source("counter") + _source(name)
    for name in ("increment", "once", "swap", "touch", "batch")
} | {"read": _source("read")}

_GLOB = re.compile(rb"([\\*?\[\]^-])")


class Commands:
    """The operations, each in one round trip, for a client of redis-py's and its relatives.

    :param client: with which the scripts are registered; sends nothing yet.
    :param now: the clock by which remaining times become times.
    """

    def __init__(self, client: Any, now: Callable[[], float]) -> None:
        self._now = now
        self._full = import_driver("redis").exceptions.OutOfMemoryError
        self._scripts = {name: client.register_script(text) for name, text in _SCRIPTS.items()}
        self._translations: dict[type[Operation], Callable[..., Any]] = {
            Put: self._put,
            Exchange: self._exchange,
            Add: self._add,
            Remove: self._remove,
            Touch: self._touch,
            Increment: self._increment,
            Swap: self._swap,
            Once: self._once,
            Batch: self._batch,
        }

    def run(self, client: Any, keys: Keys, operation: Operation) -> Any:
        """Do an operation through ``client``; returns what the operation returns."""
        return self._translations[type(operation)](client, keys, operation)

    def read(self, client: Any, keys: Keys) -> list[Record | None]:
        """The records of the keys at one moment, from a server at its ``maxmemory`` too."""
        try:
            with client.pipeline(transaction=True) as pipe:
                for key in keys:
                    pipe.get(key).pttl(key)
                found = pipe.execute()
        except self._full:
            # A full server queues no command of a transaction, not even one that only reads. It
            # runs a script, until that writes. Not the usual way: a script also waits through
            # CLIENT PAUSE, and a user who may only read may run none.
            found = self._scripts["read"](keys, (), client)
        now = self._now()
        return [
            _record(value, lifetime, now)
            for value, lifetime in zip(found[::2], found[1::2], strict=True)
        ]

    def sizes(self, client: Any, keys: Keys) -> list[int]:
        """How long the strings of the keys are; 0 for a key of another type."""
        with client.pipeline(transaction=False) as pipe:
            for key in keys:
                pipe.strlen(key)
            lengths = pipe.execute(raise_on_error=False)
        for length in lengths:
            if isinstance(length, Exception) and "WRONGTYPE" not in str(length):
                raise length
        return [length if isinstance(length, int) else 0 for length in lengths]

    def expiries(self, client: Any, keys: Keys) -> list[float | None]:
        """When the keys expire, each at its own moment."""
        # A server that is full refuses every command in a transaction, those that read too.
        with client.pipeline(transaction=False) as pipe:
            for key in keys:
                pipe.pttl(key)
            lifetimes = pipe.execute()
        now = self._now()
        return [_expires(lifetime, now) for lifetime in lifetimes]

    def _put(self, client: Any, keys: Keys, put: Put) -> None:
        client.set(keys[0], put.value, px=_milliseconds(put.timeout) or None)

    def _exchange(self, client: Any, keys: Keys, put: Exchange) -> bytes | None:
        lifetime = _milliseconds(put.timeout) or None
        found: bytes | None = client.set(keys[0], put.value, px=lifetime, get=True)
        return found

    def _add(self, client: Any, keys: Keys, put: Add) -> bool:
        return bool(client.set(keys[0], put.value, px=_milliseconds(put.timeout) or None, nx=True))

    def _remove(self, client: Any, keys: Keys, operation: Remove) -> bool:
        return bool(client.unlink(keys[0]))

    def _touch(self, client: Any, keys: Keys, touch: Touch) -> bool:
        return bool(self._scripts["touch"](keys, (_milliseconds(touch.timeout),), client))

    def _increment(self, client: Any, keys: Keys, increment: Increment) -> int:
        if _is_plain(increment):
            number: int = client.execute_command("INCRBY", keys[0], increment.delta)
            return number
        return int(self._scripts["increment"](keys, _arguments(increment), client))

    def _swap(self, client: Any, keys: Keys, swap: Swap) -> tuple[bool, bytes | None]:
        arguments = (
            int(swap.expected is not None),
            swap.expected or b"",
            int(swap.value is not None),
            swap.value or b"",
            -1 if swap.timeout == KEEP else _milliseconds(swap.timeout),
            _milliseconds(swap.default_timeout),
        )
        swapped, found = self._scripts["swap"](keys, arguments, client)
        return bool(swapped), found

    def _once(self, client: Any, keys: Keys, once: Once) -> tuple[int, bool]:
        arguments = (*_arguments(once.increment), once.fingerprint, _milliseconds(ONCE_SECONDS))
        memo, replayed = self._scripts["once"](keys, arguments, client)
        return once.replay(memo), bool(replayed)

    def _batch(self, client: Any, keys: Keys, batch: Batch) -> list[Any]:
        arguments: list[Any] = [-1 if batch.max_bytes is None else batch.max_bytes]
        for position, operation in batch.steps:
            own = _arguments(operation)
            arguments += [type(operation).__name__, position + 1, len(own), *own]
        results = self._scripts["batch"](keys, arguments, client)
        now = self._now()
        return [
            _batch_result(operation, result, now)
            for (_, operation), result in zip(batch.steps, results, strict=True)
        ]


def refusal(operation: Operation | None, text: str) -> SharedStateError | None:
    """What an error reply says of the operation it is about; in a batch it names the position."""
    if isinstance(operation, Once):
        operation = operation.increment
    if isinstance(operation, Batch) and (failed := re.search(r"operation (\d+)", text)):
        step = int(failed[1]) - 1
        if "ResultTooLarge" in text:
            error: SharedStateError | None = ResultTooLarge(operation.max_bytes or 0)
        else:
            error = _refusal(operation.steps[step][1], text)
        if error is not None:
            error.step = step
        return error
    return _refusal(operation, text)


def _refusal(operation: Operation | None, text: str) -> SharedStateError | None:
    if isinstance(operation, Increment):
        if "overflow" in text or "OutOfBounds" in text:
            return OutOfBounds(operation.minimum, operation.maximum)
        if re.search("NotACounter|not an integer|WRONGTYPE", text):
            return NotACounter(NO_COUNTER)
    elif "WRONGTYPE" in text:
        return NotSerializable("the key holds a Redis type that is not a string")
    return None


def pattern(prefix: bytes) -> bytes:
    """The glob of the keys with a prefix; without one, of every key but the library's own."""
    return _GLOB.sub(rb"\\\1", prefix) + b"*" if prefix else b"[^\x00]*"


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


def _batch_result(operation: Operation, result: Any, now: float) -> Any:
    if isinstance(operation, Increment):
        return int(result)
    if isinstance(operation, Remove):
        return bool(result)
    return _record(result[0], result[1], now) if isinstance(operation, Get) else None


def _record(value: bytes | None, lifetime: int, now: float) -> Record | None:
    """The record of a GET and a PTTL."""
    if value is None:
        return None
    return value, NEVER if lifetime < 0 else now + lifetime / 1000


def _expires(lifetime: int, now: float) -> float | None:
    """When a key expires, by PTTL: -2 for a key that is not there, -1 for one that stays."""
    if lifetime == -2:
        return None
    return NEVER if lifetime < 0 else now + lifetime / 1000
