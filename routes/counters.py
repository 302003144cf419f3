"""``/v1/counters``: integers that no two requests get the same number from."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response
from werkzeug.exceptions import BadRequest

from common import cache
from service.bodies import integer, read_object, required, seconds
from service.replies import reply
from sharedstate import NotACounter

from .values import delete, item_body, no_such_key

bp = Blueprint("counters", __name__, url_prefix="/v1/counters")

_INTEGERS = ("delta", "initial", "minimum", "maximum")


@bp.get("/<key:key>")
def show(key: str) -> Response:
    """The number that a counter stands at."""
    item = cache.item(key)
    if item is None:
        raise no_such_key(key)
    if type(item.value) is not int:
        raise NotACounter(f"the key {key!r} holds something other than an integer")
    return reply(item_body(item))


@bp.post("/<key:key>")
def increment(key: str) -> Response:
    """Add to a counter, made when missing, and answer the new number."""
    body = read_object(*_INTEGERS, "ttl")
    number = cache.inc(key, **_options(body)) if body else cache.inc(key)
    return reply({"key": key, "value": number})


@bp.put("/<key:key>")
def put(key: str) -> Response:
    """Set a counter."""
    body = read_object("value", "ttl")
    value, ttl = integer("value", required(body, "value")), seconds("ttl", body.get("ttl"))
    is_new = cache.put(key, value, ttl)
    return reply({"key": key, "value": value, "ttl": ttl or None}, 201 if is_new else 200)


bp.delete("/<key:key>")(delete)


def _options(body: dict[str, Any]) -> dict[str, Any]:
    """The members of an increment's body, as :meth:`Cache.inc` takes them."""
    options: dict[str, Any] = {
        name: integer(name, body[name]) for name in _INTEGERS if body.get(name) is not None
    }
    if "ttl" in body:
        options["timeout"] = seconds("ttl", body["ttl"])
    if options.get("minimum", 0) > options.get("maximum", options.get("minimum", 0)):
        raise BadRequest("'minimum' must not be greater than 'maximum'.")
    return options
