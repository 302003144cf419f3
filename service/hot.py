"""What the hot routes do, as plain data: in their views, and before Flask in ``server/front.py``.

A task is an operation on the record of one key, and how the response is made of its result.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from werkzeug.exceptions import NotFound

from sharedstate import NotACounter
from sharedstate.keyspace import Keyspace, version
from sharedstate.stores.operations import Exchange, Get, Operation, Record

from .contract.conditions import etag
from .contract.replies import PlainResponse, tagged, uncached
from .contract.schemas import Count, Increment, Item, NewNumber, NewValue

GET = Get()


@dataclass(slots=True, eq=False)
class Task:
    """An operation, and what makes the response of its result.

    ``respond`` never raises after a write; after a read it may, as for a key that is not there.
    """

    operation: Operation
    respond: Callable[[Any], PlainResponse]

    def done(self, space: Keyspace, key: str) -> PlainResponse:
        """Do it, and return the response."""
        if self.operation is GET:
            (result,) = space.store.read((space.key(key),))
        else:
            result = space.apply(key, self.operation)
        return self.respond(result)


def increment(space: Keyspace, key: str, body: Increment) -> Task:
    """Add to a counter."""
    operation = space.increment(body.delta, body.initial, body.ttl, body.minimum, body.maximum)
    return Task(operation, lambda number: uncached(Count(key, number)))


def show_number(space: Keyspace, key: str, body: None = None) -> Task:
    """Read a counter."""

    def respond(record: Record | None) -> PlainResponse:
        item, _ = _found(space, key, record)
        if type(item.value) is not int:
            raise NotACounter(f"the key {key!r} holds something other than an integer")
        return uncached(item)

    return Task(GET, respond)


def show(space: Keyspace, key: str, body: None = None) -> Task:
    """Read a value."""

    def respond(record: Record | None) -> PlainResponse:
        item, raw = _found(space, key, record)
        return tagged(item, etag(version(raw)))

    return Task(GET, respond)


def put(space: Keyspace, key: str, body: NewValue) -> Task:
    """Store a value, whatever was there."""
    raw = space.encode(body.value, key)

    def respond(before: bytes | None) -> PlainResponse:
        return tagged(stored(space, key, body), etag(version(raw)), 201 if before is None else 200)

    return Task(Exchange(raw, space.seconds(body.ttl)), respond)


def no_such_key(key: str) -> NotFound:
    """Return the error for a key that holds nothing."""
    return NotFound(f"There is no key {key!r}.")


def stored(space: Keyspace, key: str, body: NewValue | NewNumber) -> Item:
    """Return what has been stored, as the body of a response."""
    ttl = space.default_timeout if body.ttl is None else body.ttl
    return Item(key, body.value, ttl or None)


def _found(space: Keyspace, key: str, record: Record | None) -> tuple[Item, bytes]:
    """A record as the body of a response, and its bytes."""
    if record is None:
        raise no_such_key(key)
    raw = record[0]
    return Item(key, space.decode(raw, key), space.remaining(record) or None), raw
