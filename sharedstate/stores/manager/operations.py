"""Operations, results and errors as the data that the manager's messages are made of.

An operation is a name, which the manager looks up among those it knows, and its arguments, each
of which it checks.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

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
from .protocol import BadMessage


def _is_bytes(value: Any) -> bool:
    return type(value) is bytes


def _is_bytes_or_none(value: Any) -> bool:
    return value is None or type(value) is bytes


def _is_seconds(value: Any) -> bool:
    return type(value) in (int, float) and (value == KEEP or 0 <= value < math.inf)


def _is_integer(value: Any) -> bool:
    return type(value) is int and COUNTER_MIN <= value <= COUNTER_MAX


_Checks = dict[str, Callable[[Any], bool]]

_PUT: _Checks = {"value": _is_bytes, "timeout": _is_seconds}
_ARGUMENTS: dict[type[Operation], _Checks] = {
    Get: {},
    Put: _PUT,
    Exchange: _PUT,
    Add: _PUT,
    Remove: {},
    Touch: {"timeout": _is_seconds},
    Swap: {
        "expected": _is_bytes_or_none,
        "value": _is_bytes_or_none,
        "timeout": _is_seconds,
        "default_timeout": _is_seconds,
    },
    Increment: {
        "delta": _is_integer,
        "initial": _is_integer,
        "timeout": _is_seconds,
        "minimum": _is_integer,
        "maximum": _is_integer,
    },
}
"""The operations on one record, and what is allowed as each argument, in their order."""

_ON_ONE_RECORD = {kind.__name__: kind for kind in _ARGUMENTS}


def dump_operation(operation: Operation) -> list[Any]:
    """The operation's name and arguments."""
    if isinstance(operation, Batch):
        steps = ([i, dump_operation(step)] for i, step in operation.steps)
        return ["Batch", operation.max_bytes, *steps]
    if isinstance(operation, Once):
        return ["Once", dump_operation(operation.increment), operation.fingerprint]
    kind = type(operation)
    return [kind.__name__, *(getattr(operation, name) for name in _ARGUMENTS[kind])]


def load_operation(dumped: Any, records: int) -> Operation:
    """The operation, on this many records, that :func:`dump_operation` has described.

    :raises BadMessage: if it is none of those that there are.
    """
    try:
        name, *arguments = dumped
        if name == "Batch":
            max_bytes, *steps = arguments
            if max_bytes is not None and not _is_integer(max_bytes):
                raise BadMessage("a batch's bound is a number of bytes")
            return Batch([_load_step(step, records) for step in steps], max_bytes)
        if name == "Once" and records == 2:
            increment, fingerprint = arguments
            loaded = _load_one(*increment)
            if isinstance(loaded, Increment) and _is_bytes(fingerprint):
                return Once(loaded, fingerprint)
        if records == 1:
            return _load_one(name, *arguments)
    except (TypeError, ValueError, KeyError) as error:
        raise BadMessage(f"not an operation: {error!r}") from error
    raise BadMessage("not an operation on so many records")


def _load_step(step: Any, records: int) -> tuple[int, Operation]:
    position, dumped = step
    if type(position) is not int or not 0 <= position < records:
        raise BadMessage("a step of a batch is on one of its records")
    return position, _load_one(*dumped)


def _load_one(name: str, *arguments: Any) -> Operation:
    kind = _ON_ONE_RECORD[name]
    checks = _ARGUMENTS[kind]
    for (argument, is_allowed), value in zip(checks.items(), arguments, strict=True):
        if not is_allowed(value):
            raise BadMessage(f"{name} cannot have this {argument}")
    return kind(*arguments)


# Results. Times are sent as seconds from now: the clocks of two hosts are never the same.


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


def shifted_record(record: Sequence[Any] | None, seconds: float) -> Record | None:
    """The record with its end moved."""
    return None if record is None else (record[0], record[1] + seconds)


_ERRORS: dict[str, type[errors.SharedStateError]] = {
    kind.__name__: kind
    for kind in (
        errors.InvalidKey,
        errors.NotACounter,
        errors.NotSupported,
        errors.OutOfBounds,
        errors.ResultTooLarge,
        errors.StoreFull,
        errors.TokenReused,
    )
}


def dump_error(error: errors.SharedStateError) -> list[Any]:
    """The error's name, its step in a batch, and its arguments."""
    if isinstance(error, errors.OutOfBounds):
        return ["OutOfBounds", error.step, error.minimum, error.maximum]
    if isinstance(error, errors.ResultTooLarge):
        return ["ResultTooLarge", error.step, error.limit]
    return [type(error).__name__, error.step, str(error)]


def load_error(dumped: Sequence[Any]) -> errors.SharedStateError:
    """The error that :func:`dump_error` has described."""
    name, step, *arguments = dumped
    error = _ERRORS[name](*arguments)
    if step is not None:
        error.step = step
    return error
