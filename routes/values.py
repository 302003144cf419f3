"""``/v1/values``: JSON values by key."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, current_app, request
from werkzeug.exceptions import NotFound

import sharedstate
from common import cache
from service.contract.bodies import MERGE_PATCH
from service.contract.conditions import Conditions, etag, has_present, weak_etag
from service.contract.errors import problem_of
from service.contract.merge_patch import merged
from service.contract.operation import IF_MATCH, IF_NONE_MATCH, OF_A_KEY, OF_A_WRITE, operation
from service.contract.replies import no_content, not_modified, tagged, unread
from service.contract.schemas import Item, ListedItem, ListQuery, NewNumber, NewValue, Page
from sharedstate import ABSENT, NotSupported

bp = Blueprint("values", __name__, url_prefix="/v1/values")


def no_such_key(key: str) -> NotFound:
    """Return the error for a key that holds nothing."""
    return NotFound(f"There is no key {key!r}.")


@bp.get("")
@operation(
    query=ListQuery,
    headers=(IF_NONE_MATCH,),
    responses={200: Page, 304: None},
    refuses=(*OF_A_KEY, NotSupported),
)
def index(query: ListQuery) -> Response:
    """Return a page of the items whose keys start with a prefix.

    A key that is there the whole time is on some page; one that comes or goes meanwhile may be.
    A page may have fewer items than ``limit``, or none, and a ``next``: only the last one has none.
    It ends early where its values would be longer than ``MAX_RESPONSE_BYTES`` together. An item
    whose value cannot be read has a ``problem`` in the place of its ``value``.
    """
    if request.method == "HEAD":
        cache.items(query.prefix, cursor=query.cursor, limit=1)
        return unread()
    items, following = cache.items(
        query.prefix,
        cursor=query.cursor,
        limit=query.limit,
        max_bytes=current_app.config["MAX_RESPONSE_BYTES"],
    )
    tag = weak_etag(items, following, now=cache.state.store.clock())
    if has_present(tag):
        return not_modified(tag)
    return tagged(Page(list(map(_listed, items)), following), tag)


@bp.get("/<key:key>")
@operation(headers=(IF_NONE_MATCH,), responses={200: Item, 304: None}, refuses=(*OF_A_KEY, 404))
def show(key: str) -> Response:
    """Return the value of a key."""
    item = cache.item(key)
    if item is None:
        raise no_such_key(key)
    tag = etag(item.version)
    return not_modified(tag) if has_present(tag) else tagged(item_body(item), tag)


@bp.put("/<key:key>")
@operation(
    body=NewValue,
    headers=(IF_MATCH, IF_NONE_MATCH),
    responses={200: Item, 201: Item},
    refuses=(*OF_A_WRITE, 412),
)
def put(key: str, body: NewValue) -> Response:
    """Store a value; 201 if the key is new."""
    conditions = Conditions.of_request()
    if conditions is None:
        is_new = cache.put(key, body.value, body.ttl)
    else:
        found = _revise(key, conditions, lambda item: body.value, timeout=body.ttl)
        is_new = found is None
    tag = etag(cache.state.version(body.value))
    return tagged(stored(key, body), tag, 201 if is_new else 200)


@bp.patch("/<key:key>")
@operation(
    body=Any,
    media=MERGE_PATCH,
    headers=(IF_MATCH, IF_NONE_MATCH),
    responses={200: Item},
    refuses=(*OF_A_WRITE, 404, 412),
)
def patch(key: str, body: Any) -> Response:
    """Change members of a value (RFC 7396), in one step; its expiry is kept."""
    value: Any = None

    def change(item: sharedstate.Item | None) -> Any:
        nonlocal value
        if item is None:
            raise no_such_key(key)
        value = merged(item.value, body)
        return value

    found = _revise(key, Conditions.of_request(), change)
    ttl = found.ttl if found else 0
    return tagged(Item(key, value, ttl or None), etag(cache.state.version(value)))


@bp.delete("/<key:key>")
@operation(headers=(IF_MATCH, IF_NONE_MATCH), responses={204: None}, refuses=(*OF_A_KEY, 404, 412))
def delete(key: str) -> Response:
    """Remove a key."""
    conditions = Conditions.of_request()
    if conditions is None:
        was_there = cache.delete(key)
    else:
        was_there = _revise(key, conditions, lambda item: ABSENT) is not None
    if not was_there:
        raise no_such_key(key)
    return no_content()


def stored(key: str, body: NewValue | NewNumber) -> Item:
    """Return what has been stored, as the body of a response."""
    ttl = cache.state.default_timeout if body.ttl is None else body.ttl
    return Item(key, body.value, ttl or None)


def item_body(item: sharedstate.Item) -> Item:
    """Return an item as the body of a response: its ``ttl`` is ``null`` if it never expires."""
    return Item(item.key, item.value, item.ttl or None)


def _listed(item: sharedstate.Item) -> ListedItem:
    listed = ListedItem(key=item.key, ttl=item.ttl or None, etag=etag(item.version))
    if item.error is None:
        listed.value = item.value
    else:
        listed.problem = problem_of(item.error)
    return listed


def _revise(
    key: str, conditions: Conditions | None, change: Any, **timeout: Any
) -> sharedstate.Item | None:
    """Replace the item if the conditions hold for it, in one step; return the one before."""
    found: sharedstate.Item | None = None

    def checked(item: sharedstate.Item | None) -> Any:
        nonlocal found
        if conditions is not None:
            conditions.check(item)
        found = item
        return change(item)

    cache.revise(key, checked, **timeout)
    return found
