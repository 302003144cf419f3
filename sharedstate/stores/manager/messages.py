"""What a client may ask a manager for, and what that replies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from ... import errors
from .. import operations
from ..operations import COUNTER_MAX, COUNTER_MIN, KEEP, Operation, Record
from .protocol import BadMessage, Decoder, Message, Meta, msgspec, unpack

_LARGEST_FLOAT = 1.7976931348623157e308

Seconds = Annotated[float, Meta(ge=KEEP, le=_LARGEST_FLOAT)]
Integer = Annotated[int, Meta(ge=COUNTER_MIN, le=COUNTER_MAX)]


# The operations, by their own names and with their own fields.


class _OnOneRecord(Message):
    def loaded(self, records: int) -> Operation:
        """The operation, on this many records.

        :raises BadMessage: if it is not for so many.
        """
        if records != 1:
            raise BadMessage("not an operation on so many records")
        kind: type[Operation] = getattr(operations, type(self).__name__)
        return kind(*msgspec.structs.astuple(self))


class Get(_OnOneRecord):
    pass


class Put(_OnOneRecord):
    value: bytes
    timeout: Seconds


class Exchange(Put):
    pass


class Add(Put):
    pass


class Remove(_OnOneRecord):
    pass


class Touch(_OnOneRecord):
    timeout: Seconds


class Swap(_OnOneRecord):
    expected: bytes | None
    value: bytes | None
    timeout: Seconds
    default_timeout: Seconds


class Increment(_OnOneRecord):
    delta: Integer
    initial: Integer
    timeout: Seconds
    minimum: Integer
    maximum: Integer


_AnyOnOneRecord = Get | Put | Exchange | Add | Remove | Touch | Swap | Increment


class Once(Message):
    increment: Increment
    fingerprint: bytes

    def loaded(self, records: int) -> Operation:
        if records != 2:
            raise BadMessage("not an operation on so many records")
        increment = operations.Increment(*msgspec.structs.astuple(self.increment))
        return operations.Once(increment, self.fingerprint)


class Batch(Message):
    steps: list[tuple[int, _AnyOnOneRecord]]
    max_bytes: Integer | None

    def loaded(self, records: int) -> Operation:
        if not all(0 <= position < records for position, _ in self.steps):
            raise BadMessage("a step of a batch is on one of its records")
        steps = [(position, step.loaded(1)) for position, step in self.steps]
        return operations.Batch(steps, self.max_bytes)


_KINDS: dict[str, type[Any]] = {
    kind.__name__: kind for kind in (Get, Put, Exchange, Add, Remove, Touch, Swap, Increment)
}


def dumped(operation: Operation) -> Any:
    """The message that describes an operation."""
    if isinstance(operation, operations.Batch):
        steps = [(position, dumped(step)) for position, step in operation.steps]
        return Batch(steps, operation.max_bytes)
    if isinstance(operation, operations.Once):
        return Once(dumped(operation.increment), operation.fingerprint)
    kind = _KINDS[type(operation).__name__]
    return kind(*[getattr(operation, name) for name in kind.__struct_fields__])


# Requests: the methods of a store, by their names and with their arguments.


class Request(Message, tag=str.lower):
    pass


class Transact(Request):
    keys: list[bytes]
    operation: _AnyOnOneRecord | Once | Batch


class Read(Request):
    keys: list[bytes]


class Sizes(Request):
    keys: list[bytes]


class Page(Request):
    prefix: bytes
    cursor: str | None
    limit: Annotated[int, Meta(ge=1)]


class Clear(Request):
    prefix: bytes


class Ping(Request):
    pass


_requests: Decoder[Request] = Decoder(Transact | Read | Sizes | Page | Clear | Ping)

Call = tuple[str, tuple[Any, ...]]
"""The name of a store's method, and its arguments."""


def call_from(message: bytes | bytearray) -> Call:
    """What a packed request asks for.

    :raises BadMessage: if it asks for nothing that there is.
    """
    request = unpack(message, _requests)
    name = type(request).__name__.lower()
    if isinstance(request, Transact):
        return name, (request.keys, request.operation.loaded(len(request.keys)))
    return name, msgspec.structs.astuple(request)


# Replies.


class Result(Message):
    value: Any
    now: float
    """The manager's time: the clocks of two hosts are never the same."""


_ATTRIBUTES = {"OutOfBounds": ("minimum", "maximum"), "ResultTooLarge": ("limit",)}


class Failure(Message):
    """An error, by the name that it has in :mod:`sharedstate.errors`."""

    name: str
    step: int | None
    arguments: list[Any]

    @classmethod
    def of(cls, error: errors.SharedStateError) -> Failure:
        name = type(error).__name__
        attributes = _ATTRIBUTES.get(name)
        arguments = [getattr(error, each) for each in attributes] if attributes else [str(error)]
        return cls(name, error.step, arguments)

    def error(self) -> errors.SharedStateError:
        error: errors.SharedStateError = getattr(errors, self.name)(*self.arguments)
        if self.step is not None:
            error.step = self.step
        return error


replies: Decoder[Result | Failure] = Decoder(Result | Failure)


def shifted(operation: Operation, result: Any, seconds: float) -> Any:
    """The operation's result, as a tuple where it is one, with its records' ends moved."""
    if isinstance(operation, operations.Get):
        return shifted_record(result, seconds)
    if isinstance(operation, operations.Batch):
        return [
            shifted(step, each, seconds)
            for (_, step), each in zip(operation.steps, result, strict=True)
        ]
    return tuple(result) if type(result) is list else result


def shifted_record(record: Sequence[Any] | None, seconds: float) -> Record | None:
    """The record with its end moved."""
    return None if record is None else (record[0], record[1] + seconds)
