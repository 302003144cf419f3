"""The types of members that several bodies have."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta, Struct

from sharedstate.keyspace.arguments import MAX_TIMEOUT
from sharedstate.stores.operations import COUNTER_MAX, COUNTER_MIN

MAX_LIMIT = 1000
MIN_LEASE, MAX_LEASE = 1, 3600

Int64 = Annotated[int, Meta(ge=COUNTER_MIN, le=COUNTER_MAX, description="A signed 64-bit integer.")]
Seconds = Annotated[
    float, Meta(ge=0, le=MAX_TIMEOUT, description="Seconds until it expires; 0: never.")
]
Lease = Annotated[
    float,
    Meta(
        ge=MIN_LEASE, le=MAX_LEASE, description="Seconds until the lock comes free.", examples=[30]
    ),
]
Token = Annotated[str, Meta(examples=["5WgkXaqfy3m3RgAdFhlmMg"])]
NO_CONTROL = r"^[^\x00-\x1f\x7f]*$"
Key = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=250,
        pattern=NO_CONTROL,
        description="Text of at most 250 UTF-8 bytes without control characters.",
        examples=["visits"],
    ),
]
Value = Annotated[Any, Meta(description="Any JSON value.", examples=[42])]
Remaining = Annotated[
    float | None,
    Meta(description="Seconds until it expires; null: it never does.", examples=[None]),
]
Named = Annotated[str, Meta(examples=["visits"])]


class Request(Struct, forbid_unknown_fields=True):
    """What a client sends."""
