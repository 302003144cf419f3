"""Values and their listing."""

from __future__ import annotations

from typing import Annotated

from msgspec import UNSET, Meta, Struct, UnsetType

from .fields import MAX_LIMIT, NO_CONTROL, Named, Remaining, Request, Seconds, Value
from .problem import Problem


class NewValue(Request):
    """A value to store; without ``ttl`` it lives as long as the service's default says."""

    value: Value
    ttl: Seconds | None = None


class ListQuery(Request):
    """Which page of a listing."""

    prefix: Annotated[
        str, Meta(max_length=250, pattern=NO_CONTROL, description="What the keys start with.")
    ] = ""
    limit: Annotated[int, Meta(ge=1, le=MAX_LIMIT, description="Items on a page.")] = 100
    cursor: Annotated[str | None, Meta(description="The ``next`` of the page before.")] = None


class NoQuery(Request):
    """An empty query."""


class Item(Struct):
    """A key with what it holds."""

    key: Named
    value: Value
    ttl: Remaining


class ListedItem(Struct, kw_only=True):
    """An item with the entity tag that its own route returns, or why it cannot be read."""

    key: Named
    value: Value | UnsetType = UNSET
    ttl: Remaining
    etag: Annotated[str, Meta(examples=['"6f3c0a5ae8a7b5c0e6a8d7d4c1f2b390"'])]
    problem: Problem | UnsetType = UNSET


class Page(Struct):
    """Items, fewer than asked for or none, and the cursor of the next page; null at the end."""

    items: list[ListedItem]
    next: Annotated[str | None, Meta(examples=[None])]
