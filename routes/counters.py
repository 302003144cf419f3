"""``/v1/counters``: integers that no two requests get the same number from."""

from __future__ import annotations

from flask import Blueprint, Response, request
from werkzeug.exceptions import BadRequest

from common import cache
from service import hot
from service.contract.operation import IDEMPOTENCY_KEY, OF_A_KEY, OF_A_WRITE, operation
from service.contract.replies import reply
from service.contract.schemas import Count, Increment, Item, NewNumber
from sharedstate import NotACounter, NotSupported, OutOfBounds, TokenReused
from sharedstate.keyspace.arguments import MAX_KEY_BYTES

from .values import delete

bp = Blueprint("counters", __name__, url_prefix="/v1/counters")


@bp.get("/<key:key>")
@operation(responses={200: Item}, refuses=(*OF_A_KEY, 404, NotACounter))
def show(key: str) -> Response:
    """Return the number of a counter."""
    space = cache.state.keyspace
    return hot.show_number(space, key).done(space, key).response()


@bp.post("/<key:key>")
@operation(
    body=Increment,
    headers=(IDEMPOTENCY_KEY,),
    responses={200: Count},
    refuses=(*OF_A_WRITE, NotACounter, OutOfBounds, TokenReused, NotSupported),
)
def increment(key: str, body: Increment) -> Response:
    """Add to a counter, created when missing, and return the new number."""
    token = request.environ.get("HTTP_IDEMPOTENCY_KEY")
    if token is not None:
        return _once(key, body, token)
    space = cache.state.keyspace
    return hot.increment(space, key, body).done(space, key).response()


@bp.put("/<key:key>")
@operation(body=NewNumber, responses={200: Item, 201: Item}, refuses=OF_A_WRITE)
def put(key: str, body: NewNumber) -> Response:
    """Set a counter; 201 if the key is new."""
    is_new = cache.put(key, body.value, body.ttl)
    return reply(hot.stored(cache.state.keyspace, key, body), 201 if is_new else 200)


bp.delete("/<key:key>")(delete)


def _once(key: str, body: Increment, token: str) -> Response:
    token = token.strip()
    if not 0 < len(token.encode()) <= MAX_KEY_BYTES:
        raise BadRequest(f"The Idempotency-Key must be a text of 1 to {MAX_KEY_BYTES} bytes.")
    number, is_repeat = cache.inc_once(key, token, **body.options())
    headers = {"Idempotency-Replayed": "true"} if is_repeat else None
    return reply(Count(key, number), headers=headers)
