"""JSON bodies of requests, with errors that name the member that is wrong."""

from __future__ import annotations

from typing import Any, Final

from flask import current_app, request
from werkzeug.exceptions import BadRequest, UnsupportedMediaType

from sharedstate.arguments import MAX_TIMEOUT
from sharedstate.stores.operations import COUNTER_MAX, COUNTER_MIN

MISSING: Final = object()


def read_object(*members: str) -> dict[str, Any]:
    """The body's JSON object, ``{}`` for an empty body.

    :param members: the names that it may have.
    """
    environ = request.environ
    if not environ.get("CONTENT_LENGTH") and "HTTP_TRANSFER_ENCODING" not in environ:
        return {}
    raw = request.get_data(cache=False)
    if not raw:
        return {}
    if not request.is_json:
        raise UnsupportedMediaType("Send JSON, with the header Content-Type: application/json.")
    body = _parse(raw)
    if not isinstance(body, dict):
        raise BadRequest("The body must be a JSON object.")
    unknown = sorted(body.keys() - set(members))
    if unknown:
        raise BadRequest(
            f"The body has an unknown member {unknown[0]!r}; it can have {', '.join(members)}."
        )
    return body


def _parse(raw: bytes) -> Any:
    try:
        return current_app.json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"The body is not valid JSON: {error}.") from error


def required(body: dict[str, Any], name: str) -> Any:
    """The member's value, whatever it is."""
    value = body.get(name, MISSING)
    if value is MISSING:
        raise BadRequest(f"The body must have the member {name!r}.")
    return value


def integer(name: str, value: Any) -> int:
    """A signed 64-bit integer."""
    if type(value) is int and COUNTER_MIN <= value <= COUNTER_MAX:
        return value
    raise BadRequest(f"{name!r} must be a signed 64-bit integer.")


def seconds(name: str, value: Any) -> float | None:
    """A time to live: seconds, or ``None`` for the default of the service."""
    if value is None or (type(value) in (int, float) and 0 <= value <= MAX_TIMEOUT):
        return value
    raise BadRequest(
        f"{name!r} must be a number of seconds up to {MAX_TIMEOUT:.0f}, or 0 for ever."
    )
