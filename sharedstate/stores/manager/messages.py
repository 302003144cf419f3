"""What a client may ask a manager for, and what that replies."""

from __future__ import annotations

from typing import Annotated, Any, Union, get_type_hints

from ... import errors
from ..operations import (
    COUNTER_MAX,
    COUNTER_MIN,
    KEEP,
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
from .protocol import BadMessage, Decoder, Message, Meta, msgspec, unpack

_LARGEST_FLOAT = 1.7976931348623157e308

_CHECKED: dict[Any, Any] = {
    int: Annotated[int, Meta(ge=COUNTER_MIN, le=COUNTER_MAX)],
    float: Annotated[float, Meta(ge=KEEP, le=_LARGEST_FLOAT)],
}
"""What is allowed as an argument of a type; anything of the others."""


def _message(kind: Any, **types: Any) -> Any:
    """The message for an operation: its name, and its fields with their types."""
    types = get_type_hints(kind) | types
    checked = [(name, _CHECKED.get(types[name], types[name])) for name in kind.__match_args__]
    return msgspec.defstruct(kind.__name__, checked, bases=(Message,))


_ON_ONE_RECORD = (Get, Put, Exchange, Add, Remove, Touch, Swap, Increment)
_MESSAGES: dict[type[Operation], Any] = {kind: _message(kind) for kind in _ON_ONE_RECORD}
_AnyStep: Any = Union[tuple(_MESSAGES.values())]  # noqa: UP007  # it is not known before
_MESSAGES[Once] = _message(Once, increment=_MESSAGES[Increment])
_MESSAGES[Batch] = _message(Batch, steps=list[tuple[int, _AnyStep]])
_AnyOperation: Any = Union[tuple(_MESSAGES.values())]  # noqa: UP007
_OPERATIONS = {message: kind for kind, message in _MESSAGES.items()}


def dumped(value: Any) -> Any:
    """The message that describes an operation; other values, and those in a list, as they are."""
    if message := _MESSAGES.get(type(value)):
        return message(*[dumped(getattr(value, name)) for name in message.__struct_fields__])
    return [dumped(each) for each in value] if isinstance(value, (list, tuple)) else value


def loaded(value: Any) -> Any:
    """What :func:`dumped` was given."""
    if kind := _OPERATIONS.get(type(value)):
        return kind(*map(loaded, msgspec.structs.astuple(value)))
    return [loaded(each) for each in value] if isinstance(value, (list, tuple)) else value


# Requests: the methods of a store, by their names and with their arguments.


class Request(Message, tag=str.lower):
    pass


class Transact(Request):
    keys: list[bytes]
    operation: _AnyOperation


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
    if isinstance(request, Transact):
        operation, records = loaded(request.operation), len(request.keys)
        if isinstance(operation, Batch):
            fits = all(0 <= position < records for position, _ in operation.steps)
        else:
            fits = records == (2 if isinstance(operation, Once) else 1)
        if not fits:
            raise BadMessage("not an operation on so many records")
        return "transact", (request.keys, operation)
    return type(request).__name__.lower(), msgspec.structs.astuple(request)


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
    if isinstance(operation, Get):
        return shifted_record(result, seconds)
    if isinstance(operation, Batch):
        return [
            shifted(step, each, seconds)
            for (_, step), each in zip(operation.steps, result, strict=True)
        ]
    return tuple(result) if type(result) is list else result


def shifted_record(record: list[Any] | None, seconds: float) -> Record | None:
    """The record with its end moved."""
    return None if record is None else (record[0], record[1] + seconds)
