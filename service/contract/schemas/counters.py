"""Counters."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta, Struct

from .fields import Int64, Named, Request, Seconds


class Increment(Request):
    """What to add to a counter, within which bounds; a missing one starts from ``initial``."""

    delta: Annotated[Int64, Meta(examples=[1])] = 1
    initial: Int64 = 0
    minimum: Int64 | None = None
    maximum: Int64 | None = None
    ttl: Annotated[Seconds | None, Meta(description="When this creates it; kept after.")] = None

    def __post_init__(self) -> None:
        if self.minimum is not None and self.maximum is not None and self.minimum > self.maximum:
            raise ValueError("'minimum' must not be greater than 'maximum'")

    def options(self) -> dict[str, Any]:
        """The arguments of :meth:`Cache.inc`."""
        return {
            "delta": self.delta,
            "initial": self.initial,
            "minimum": self.minimum,
            "maximum": self.maximum,
            "timeout": self.ttl,
        }


class NewNumber(Request):
    """A number to set a counter to."""

    value: Int64
    ttl: Seconds | None = None


class Count(Struct):
    """A counter and the number that this request got."""

    key: Named
    value: Int64
