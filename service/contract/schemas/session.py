"""What each client has for itself."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from .fields import Int64, Named, Request, Value


class Change(Request):
    """What to add to a counter of this client."""

    delta: Annotated[Int64, Meta(examples=[1])] = 1


class Number(Request):
    """What a counter of this client is set to."""

    value: Int64


class AnyValue(Request):
    """A value of this client."""

    value: Value


class ClientState(Struct):
    """All that a client keeps."""

    values: dict[str, Value]
    counters: dict[str, Int64]


class ClientValue(Struct):
    """A value of this client."""

    name: Named
    value: Value


class ClientCount(Struct):
    """A counter of this client."""

    name: Named
    value: Int64
