"""``/v1/session``: values and counters that each client has for itself, by its cookie."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, g
from werkzeug.exceptions import NotFound

from service.contract.operation import OF_A_KEY, OF_A_WRITE, operation
from service.contract.replies import no_content, reply
from service.contract.schemas import AnyValue, Change, ClientCount, ClientState, ClientValue, Number
from service.sessions import with_client
from sharedstate import OutOfBounds
from sharedstate.keyspace.arguments import checked_key
from sharedstate.stores.operations import COUNTER_MAX, COUNTER_MIN

bp = Blueprint("session", __name__, url_prefix="/v1/session")


@bp.get("")
@operation(responses={200: ClientState}, refuses=OF_A_KEY)
@with_client
def show() -> Response:
    """Return all that this client keeps."""
    state = g.client.read()
    return reply(ClientState(state["values"], state["counters"]))


@bp.delete("")
@operation(responses={204: None}, refuses=OF_A_KEY)
@with_client
def forget() -> Response:
    """Forget what this client keeps, and give it another session."""
    g.client.forget()
    return no_content()


@bp.get("/values/<key:name>")
@operation(responses={200: ClientValue}, refuses=(*OF_A_KEY, 404))
@with_client
def show_value(name: str) -> Response:
    """Return a value of this client."""
    values = g.client.read()["values"]
    if name not in values:
        raise _no_such_value(name)
    return reply(ClientValue(name, values[name]))


@bp.put("/values/<key:name>")
@operation(body=AnyValue, responses={200: ClientValue}, refuses=OF_A_WRITE)
@with_client
def put_value(name: str, body: AnyValue) -> Response:
    """Store a value of this client."""
    _put("values", name, body.value)
    return reply(ClientValue(name, body.value))


@bp.delete("/values/<key:name>")
@operation(responses={204: None}, refuses=(*OF_A_KEY, 404))
@with_client
def delete_value(name: str) -> Response:
    """Remove a value of this client."""

    def without(values: dict[str, Any]) -> dict[str, Any]:
        if name not in values:
            raise _no_such_value(name)
        return {other: value for other, value in values.items() if other != name}

    g.client.change("values", without)
    return no_content()


@bp.post("/counters/<key:name>")
@operation(body=Change, responses={200: ClientCount}, refuses=(*OF_A_WRITE, OutOfBounds))
@with_client
def increment(name: str, body: Change) -> Response:
    """Add to a counter of this client and return the new number; exact in parallel requests too."""
    checked_key(name)
    number = 0

    def add(counters: dict[str, int]) -> dict[str, int]:
        nonlocal number
        number = counters.get(name, 0) + body.delta
        if not COUNTER_MIN <= number <= COUNTER_MAX:
            error = OutOfBounds(COUNTER_MIN, COUNTER_MAX)
            error.key = name
            raise error
        return {**counters, name: number}

    g.client.change("counters", add)
    return reply(ClientCount(name, number))


@bp.put("/counters/<key:name>")
@operation(body=Number, responses={200: ClientCount}, refuses=OF_A_WRITE)
@with_client
def put_counter(name: str, body: Number) -> Response:
    """Set a counter of this client, to reset it."""
    _put("counters", name, body.value)
    return reply(ClientCount(name, body.value))


def _put(kind: str, name: str, value: Any) -> None:
    checked_key(name)
    g.client.change(kind, lambda present: {**present, name: value})


def _no_such_value(name: str) -> NotFound:
    return NotFound(f"This client has no value {name!r}.")
