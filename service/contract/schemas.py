"""What the bodies of requests and answers are made of.

These classes decode and validate what is sent, encode what is answered, and are what
``/openapi.json`` describes: there is no second copy.
"""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import UNSET, Meta, Struct, UnsetType

from sharedstate.arguments import MAX_TIMEOUT
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
_NO_CONTROL = r"^[^\x00-\x1f\x7f]*$"
Key = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=250,
        pattern=_NO_CONTROL,
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


class NewValue(Request):
    """A value to store; without ``ttl`` it lives as long as the service's default says."""

    value: Value
    ttl: Seconds | None = None


class NewNumber(Request):
    """A number to set a counter to."""

    value: Int64
    ttl: Seconds | None = None


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


class Change(Request):
    """What to add to a counter of this client."""

    delta: Annotated[Int64, Meta(examples=[1])] = 1


class Number(Request):
    """What a counter of this client is set to."""

    value: Int64


class AnyValue(Request):
    """A value of this client."""

    value: Value


class NoQuery(Request):
    """That there is nothing to say in the query of a request."""


class ListQuery(Request):
    """Which page of a listing."""

    prefix: Annotated[
        str, Meta(max_length=250, pattern=_NO_CONTROL, description="What the keys start with.")
    ] = ""
    limit: Annotated[int, Meta(ge=1, le=MAX_LIMIT, description="Items on a page.")] = 100
    cursor: Annotated[str | None, Meta(description="What the page before has as its next.")] = None


class Acquire(Request):
    """How long a lock is wanted for."""

    lease: Lease = 30


class Renew(Request):
    """What proves who holds a lock, and for how long it is wanted from now."""

    token: Token
    lease: Lease = 30


class Release(Request):
    """What proves who holds a lock."""

    token: Token


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


class Item(Struct):
    """A key with what it holds."""

    key: Named
    value: Value
    ttl: Remaining


class Count(Struct):
    """A counter and the number that this request got."""

    key: Named
    value: Int64


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


class Held(Struct):
    """A lock that is held, by whoever it is, for at most this many seconds."""

    name: Named
    expires_in: float


class Acquired(Held):
    """A lock that the client holds now; ``fence`` is higher than every one before."""

    token: Token
    fence: int


class Race(Request):
    """A name that the client makes up; each way of counting counts in it from 1."""

    race: Annotated[str, Meta(pattern="^[0-9A-Za-z-]{1,64}$", examples=["race-1"])]


class Raced(Struct):
    """The number that a request got, and the process that answered it."""

    value: Int64
    worker: int


class Overlap(Struct):
    """Whether requests overlap here: without that no race can go wrong."""

    workers: int | None
    threads: int | None
    overlap: bool


class StoreAbilities(Struct):
    """What not every store can do."""

    keys: bool
    once: bool
    atomic_batch: bool


class StoreStatus(Struct):
    """What the state is kept in, and who answers; null is what cannot be told."""

    type: Annotated[str, Meta(examples=["filesystem"])]
    scope: Annotated[str, Meta(examples=["host"])]
    durability: Annotated[str, Meta(examples=["normal"])]
    codec: Annotated[str, Meta(examples=["json"])]
    can: StoreAbilities
    entries: int | None
    bytes: int | None
    worker: int
    workers: int | None
    threads: int | None


class Health(Struct):
    """That something is as it should be."""

    status: Annotated[str, Meta(examples=["ready"])]


class Problem(Struct):
    """A problem document (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    operation: Annotated[
        int | UnsetType, Meta(description="Which one of a batch was refused, from 0.")
    ] = UNSET


class ListedItem(Struct, kw_only=True):
    """An item with the entity tag that its own route answers, or why it cannot be read."""

    key: Named
    value: Value | UnsetType = UNSET
    ttl: Remaining
    etag: Annotated[str, Meta(examples=['"6f3c0a5ae8a7b5c0e6a8d7d4c1f2b390"'])]
    problem: Problem | UnsetType = UNSET


class Page(Struct):
    """Items, fewer than asked for or none, and the cursor of the next page; null at the end."""

    items: list[ListedItem]
    next: Annotated[str | None, Meta(examples=[None])]


class Result(Struct):
    """What one operation of a batch answered: 200, 204 for a removed key, 404, or its problem."""

    status: Annotated[int, Meta(examples=[200])]
    key: Named
    value: Value | UnsetType = UNSET
    ttl: Remaining | UnsetType = UNSET
    problem: Problem | UnsetType = UNSET


class Results(Struct):
    """The answers to a batch, in the order of its operations."""

    results: list[Result]
