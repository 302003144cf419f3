"""``/v1/values``: JSON values by key."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, current_app, request

import sharedstate
from common import cache
from service import hot
from service.contract.bodies import MERGE_PATCH
from service.contract.conditions import Conditions, etag, has_present, weak_etag
from service.contract.errors import problem_of
from service.contract.merge_patch import merged
from service.contract.operation import (
    IF_MATCH,
    IF_NONE_MATCH,
    OF_A_KEY,
    OF_A_WRITE,
    PREFER,
    operation,
)
from service.contract.replies import WAITED, no_content, not_modified, tagged, unread
from service.contract.schemas import Item, ListedItem, ListQuery, NewValue, Page
from sharedstate import ABSENT, NotSupported

bp = Blueprint("values", __name__, url_prefix="/v1/values")


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
    return tagged(Page(list(map(_listed, items)), following), tag).response()


@bp.get("/<key:key>")
@operation(
    headers=(IF_NONE_MATCH, PREFER), responses={200: Item, 304: None}, refuses=(*OF_A_KEY, 404)
)
def show(key: str) -> Response:
    """Return the value of a key.

    With ``Prefer: wait=20`` and ``If-None-Match`` the response comes as soon as the value is
    another one, or after so many seconds, at most 60. If it might wait, ``Preference-Applied`` says
    so: otherwise it comes at once.
    """
    space = cache.state.keyspace
    response = hot.show(space, key).done(space, key).response()
    tag = response.headers["ETag"]
    if has_present(tag):
        response = not_modified(tag)
    if waited := request.environ.get(WAITED):
        response.headers["Preference-Applied"] = waited
    return response


@bp.put("/<key:key>")
@operation(
    body=NewValue,
    headers=(IF_MATCH, IF_NONE_MATCH),
    responses={200: Item, 201: Item},
    refuses=(*OF_A_WRITE, 412),
)
def put(key: str, body: NewValue) -> Response:
    """Store a value; 201 if the key is new."""
    space, conditions = cache.state.keyspace, Conditions.of_request()
    task = hot.put(space, key, body)
    if conditions is None:
        return task.done(space, key).response()
    found = _revise(key, conditions, lambda item: body.value, timeout=body.ttl)
    return task.respond(found).response()


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
            raise hot.no_such_key(key)
        value = merged(item.value, body)
        return value

    found = _revise(key, Conditions.of_request(), change)
    ttl = found.ttl if found else 0
    return tagged(Item(key, value, ttl or None), etag(cache.state.version(value))).response()


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
        raise hot.no_such_key(key)
    return no_content()


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
