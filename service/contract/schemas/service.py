"""The service itself: its store, its health, and the demonstration."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from .fields import Int64, Request


class StoreAbilities(Struct):
    """Abilities that not every store has."""

    keys: bool
    once: bool
    atomic_batch: bool


class StoreStatus(Struct):
    """The store of the state, and the process that served the request; null: unknown."""

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
    """The state of health."""

    status: Annotated[str, Meta(examples=["ready"])]


class Race(Request):
    """A name that the client makes up; each way of counting counts in it from 1."""

    race: Annotated[str, Meta(pattern="^[0-9A-Za-z-]{1,64}$", examples=["race-1"])]


class Raced(Struct):
    """The number that a request got, and the process that served it."""

    value: Int64
    worker: int


class Overlap(Struct):
    """Whether requests overlap here: without that no race can go wrong."""

    workers: int | None
    threads: int | None
    overlap: bool
