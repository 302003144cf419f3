"""Many operations in one request."""

from __future__ import annotations

from typing import Annotated

from msgspec import UNSET, Meta, Struct, UnsetType

from .counters import Increment
from .fields import Key, Named, Remaining, Request, Seconds, Value
from .problem import Problem


class Get(Request, tag_field="op", tag="get"):
    """Read a value."""

    key: Key


class Set(Request, tag_field="op", tag="set"):
    """Store a value."""

    key: Key
    value: Value
    ttl: Seconds | None = None


class Delete(Request, tag_field="op", tag="delete"):
    """Remove a key."""

    key: Key


class Inc(Increment, tag_field="op", tag="inc", kw_only=True):
    """Add to a counter."""

    key: Key


class Operations(Request):
    """Operations to be done in their order: all of them or none, or each by itself."""

    operations: list[Get | Set | Delete | Inc]
    atomic: bool = True


class Result(Struct):
    """The result of one operation of a batch: 200, 204 for a removed key, 404, or its problem."""

    status: Annotated[int, Meta(examples=[200])]
    key: Named
    value: Value | UnsetType = UNSET
    ttl: Remaining | UnsetType = UNSET
    problem: Problem | UnsetType = UNSET


class Results(Struct):
    """The results of a batch, in the order of its operations."""

    results: list[Result]
