"""What each route takes and returns: read by the requests themselves and by ``/openapi.json``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import wraps
from typing import Any

from flask import request

from sharedstate import errors

from .bodies import JSON, Body, read_query
from .schemas import NoQuery

View = Callable[..., Any]

OF_A_KEY = (errors.InvalidKey, errors.StoreUnavailable)
OF_A_WRITE = (*OF_A_KEY, errors.NotSerializable, errors.ValueTooLarge, errors.StoreFull)


@dataclass(frozen=True)
class Header:
    """A header that a request may have.

    :param pattern: what is said of its value; the view checks it.
    """

    name: str
    description: str
    pattern: str | None = None


IF_MATCH = Header(
    "If-Match", "Only if the value is still the one with this ETag; an asterisk: any."
)
IF_NONE_MATCH = Header("If-None-Match", "Only if the value is not the one with this ETag.")
PREFER = Header(
    "Prefer",
    "With If-None-Match, wait=20: to wait up to so many seconds for another value (RFC 7240).",
)
IDEMPOTENCY_KEY = Header(
    "Idempotency-Key",
    "A text of the client's, at most 250 bytes, new for each increment: a repeat with the same "
    "one within 24 hours changes nothing and returns what the first one did.",
    r"^[!-~]([ -~]{0,248}[!-~])?$",
)


@dataclass(frozen=True)
class Text:
    """A body that is text, of one of these content types."""

    media: tuple[str, ...]


@dataclass(frozen=True)
class Contract:
    """What a route takes and returns.

    :param responses: the class of the body by status, or :class:`Text`; ``None`` for no body.
    :param refuses: the statuses, or errors of the library, that it refuses requests with, besides
        those that any route may.
    """

    responses: Mapping[int, Any]
    refuses: tuple[int | type[errors.SharedStateError], ...] = ()
    body: Body[Any] | None = None
    query: type | None = None
    headers: tuple[Header, ...] = ()


def operation(
    *,
    responses: Mapping[int, Any],
    refuses: tuple[int | type[errors.SharedStateError], ...] = (),
    body: Any = None,
    media: str = JSON,
    query: type | None = None,
    headers: tuple[Header, ...] = (),
) -> Callable[[View], View]:
    """Declare the contract of a view, which gets its ``body`` and ``query`` read and checked.

    The parameters are those of :class:`Contract`.

    :param body: the class of the JSON body, of :mod:`service.contract.schemas`, or ``Any``.
    :param media: the content type that the body has to be sent with.
    :param query: the class of the query; without it, a request with a query is refused.
    :returns: a decorator.
    """
    reader = None if body is None else Body(body, media)

    def decorate(view: View) -> View:
        checked = _checking(view, reader, query)
        checked.contract = Contract(responses, refuses, reader, query, headers)  # type: ignore[attr-defined]
        return checked

    return decorate


def _checking(view: View, reader: Body[Any] | None, query: type | None) -> View:
    if reader is not None:
        read = reader.read

        @wraps(view)
        def with_body(**arguments: Any) -> Any:
            if request.environ.get("QUERY_STRING"):
                read_query(NoQuery)
            return view(**arguments, body=read())

        return with_body
    if query is not None:

        @wraps(view)
        def with_query(**arguments: Any) -> Any:
            return view(**arguments, query=read_query(query))

        return with_query

    @wraps(view)
    def plain(**arguments: Any) -> Any:
        if request.environ.get("QUERY_STRING"):
            read_query(NoQuery)
        return view(**arguments)

    return plain
