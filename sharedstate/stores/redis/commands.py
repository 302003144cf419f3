"""What each operation is in Redis: a command where it has one, a script of ``lua/`` where not."""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib.resources import files
from typing import Any

from ..operations import (
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
from ..support.drivers import import_driver
from .requests import Command, Keys, Request, Script


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
        self._translations: dict[type[Operation], Callable[..., Request]] = {
            Get: lambda keys, get: self._script("read", keys),
            Put: _put,
            Exchange: _exchange,
            Add: _add,
            Remove: lambda keys, remove: Command(("UNLINK", keys[0])),
            Touch: self._touch,
            Increment: self._increment,
            Swap: self._swap,
            Once: self._once,
            Batch: self._batch,
        }

    def run(self, client: Any, keys: Keys, operation: Operation) -> Any:
        """Do an operation through ``client``; returns what the operation returns."""
        if type(operation) is Get:
            return self.read(client, keys)[0]
        return self.result(operation, self.request(keys, operation).run(client))

    def request(self, keys: Keys, operation: Operation) -> Request:
        """What is sent for an operation."""
        return self._translations[type(operation)](keys, operation)

    def result(self, operation: Operation, reply: Any) -> Any:
        """What the operation returns, by the server's reply."""
        return _RESULTS[type(operation)](operation, reply, self._now)

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

    def _script(self, name: str, keys: Keys, *arguments: Any) -> Script:
        return Script(self._scripts[name], keys, arguments)

    def _touch(self, keys: Keys, touch: Touch) -> Request:
        return self._script("touch", keys, _milliseconds(touch.timeout))

    def _increment(self, keys: Keys, increment: Increment) -> Request:
        if _is_plain(increment):
            return Command(("INCRBY", keys[0], increment.delta))
        return self._script("increment", keys, *_arguments(increment))

    def _swap(self, keys: Keys, swap: Swap) -> Request:
        return self._script(
            "swap",
            keys,
            int(swap.expected is not None),
            swap.expected or b"",
            int(swap.value is not None),
            swap.value or b"",
            -1 if swap.timeout == KEEP else _milliseconds(swap.timeout),
            _milliseconds(swap.default_timeout),
        )

    def _once(self, keys: Keys, once: Once) -> Request:
        lifetime = _milliseconds(ONCE_SECONDS)
        return self._script("once", keys, *_arguments(once.increment), once.fingerprint, lifetime)

    def _batch(self, keys: Keys, batch: Batch) -> Request:
        arguments: list[Any] = [-1 if batch.max_bytes is None else batch.max_bytes]
        for position, operation in batch.steps:
            own = _arguments(operation)
            arguments += [type(operation).__name__, position + 1, len(own), *own]
        return self._script("batch", keys, *arguments)


def _put(keys: Keys, put: Put) -> Command:
    lifetime = _milliseconds(put.timeout)
    words = ("SET", keys[0], put.value)
    return Command((*words, "PX", lifetime) if lifetime else words)


def _add(keys: Keys, put: Put) -> Command:
    return Command((*_put(keys, put).words, "NX"))


def _exchange(keys: Keys, put: Put) -> Command:
    return Command((*_put(keys, put).words, "GET"), {"get": True})


def _memo(once: Once, reply: Any, _: Any) -> tuple[int, bool]:
    return once.replay(reply[0]), bool(reply[1])


def _batch_results(batch: Batch, replies: Any, clock: Callable[[], float]) -> list[Any]:
    now = clock()
    return [
        _batch_result(operation, reply, now)
        for (_, operation), reply in zip(batch.steps, replies, strict=True)
    ]


_RESULTS: dict[type[Operation], Callable[..., Any]] = {
    Get: lambda get, reply, clock: _record(reply[0], reply[1], clock()),
    Put: lambda put, reply, clock: None,
    Exchange: lambda put, reply, clock: reply,
    Add: lambda put, reply, clock: bool(reply),
    Remove: lambda remove, reply, clock: bool(reply),
    Touch: lambda touch, reply, clock: bool(reply),
    Increment: lambda increment, reply, clock: int(reply),
    Swap: lambda swap, reply, clock: (bool(reply[0]), reply[1]),
    Once: _memo,
    Batch: _batch_results,
}


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
