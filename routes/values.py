"""``/v1/values``: JSON values by key."""

from __future__ import annotations

from flask import Blueprint, Response, request
from werkzeug.exceptions import BadRequest, NotFound

from common import cache
from service.bodies import read_object, required, seconds
from service.replies import no_content, reply
from sharedstate import Item

bp = Blueprint("values", __name__, url_prefix="/v1/values")

MAX_LIMIT = 1000


def item_body(item: Item) -> dict[str, object]:
    """A key with what it holds; its ``ttl`` is ``null`` if it never expires."""
    return {"key": item.key, "value": item.value, "ttl": item.ttl or None}


def no_such_key(key: str) -> NotFound:
    """The error for a key that holds nothing."""
    return NotFound(f"There is no key {key!r}.")


@bp.get("")
def index() -> Response:
    """A page of the keys that start with a prefix."""
    arguments = request.args
    try:
        limit = int(arguments.get("limit", 100))
    except ValueError:
        limit = 0
    if not 1 <= limit <= MAX_LIMIT:
        raise BadRequest(f"limit must be a number from 1 to {MAX_LIMIT}.")
    items, following = cache.items(
        arguments.get("prefix", ""), cursor=arguments.get("cursor"), limit=limit
    )
    return reply({"items": [item_body(item) for item in items], "next": following})


@bp.get("/<key:key>")
def show(key: str) -> Response:
    """The value of a key."""
    item = cache.item(key)
    if item is None:
        raise no_such_key(key)
    return reply(item_body(item))


@bp.put("/<key:key>")
def put(key: str) -> Response:
    """Store a value under a key."""
    body = read_object("value", "ttl")
    value, ttl = required(body, "value"), seconds("ttl", body.get("ttl"))
    is_new = cache.put(key, value, ttl)
    return reply({"key": key, "value": value, "ttl": ttl or None}, 201 if is_new else 200)


@bp.delete("/<key:key>")
def delete(key: str) -> Response:
    """Remove a key."""
    if not cache.delete(key):
        raise no_such_key(key)
    return no_content()
