"""Rate limits."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from sharedstate.keyspace.arguments import MAX_TIMEOUT

from .fields import Named, Request

_MOST = 1_000_000


class Hit(Request):
    """How many hits are allowed in how many seconds, and as how many this one counts."""

    limit: Annotated[int, Meta(ge=1, le=_MOST, examples=[5])]
    per: Annotated[float, Meta(ge=1, le=MAX_TIMEOUT, description="Seconds.", examples=[60])]
    cost: Annotated[int, Meta(ge=1, le=_MOST, description="At most ``limit``.")] = 1

    def __post_init__(self) -> None:
        if self.cost > self.limit:
            raise ValueError("'cost' must not be greater than 'limit'")


class Allowed(Struct):
    """A hit that is allowed, how many more are, and in how many seconds all are again."""

    name: Named
    limit: Annotated[int, Meta(examples=[5])]
    remaining: Annotated[int, Meta(examples=[4])]
    reset: Annotated[float, Meta(examples=[12])]
