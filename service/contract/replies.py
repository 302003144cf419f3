"""JSON responses."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec
from flask import Response

from .schemas import Problem

WAITED = "sharedstate.waited"
"""Where the environment says how long a request might wait, for ``Preference-Applied``."""

_encode = msgspec.json.encode

_NO_STORE = ("Cache-Control", "no-store")
_NO_CACHE = ("Cache-Control", "no-cache")
_JSON = ("Content-Type", "application/json")
_PROBLEM = ("Content-Type", "application/problem+json")
_NO_SNIFFING = ("X-Content-Type-Options", "nosniff")


class PlainResponse(NamedTuple):
    """A response as plain data."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def response(self) -> Response:
        """The same for Flask."""
        return Response([self.body], self.status, self.headers)


def uncached(body: Any, status: int = 200) -> PlainResponse:
    """Return a response that no cache keeps: it may be another one a moment later.

    :param body: an instance of :mod:`service.contract.schemas`.
    """
    return _plain(_NO_STORE, _JSON, body, status)


def tagged(body: Any, etag: str, status: int = 200) -> PlainResponse:
    """Return a response with an entity tag, which a cache may keep and has to revalidate."""
    return _plain(_NO_CACHE, _JSON, body, status, ("ETag", etag))


def refused(problem: Problem, *headers: tuple[str, str]) -> PlainResponse:
    """Return a response that is a problem document.

    :param headers: besides the usual ones.
    """
    return _plain(_NO_STORE, _PROBLEM, problem, problem.status, *headers)


def reply(body: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Return the response of :func:`uncached`.

    :param headers: besides the usual ones, or in their place.
    """
    response = uncached(body, status).response()
    if headers:
        response.headers.update(headers)
    return response


def unread() -> Response:
    """Return a response to HEAD, without the headers that depend on the content."""
    response = Response(headers=[_NO_CACHE, _JSON, _NO_SNIFFING])
    response.automatically_set_content_length = False
    return response


def not_modified(etag: str) -> Response:
    """Return a response for a client that has the present state already."""
    return _bodiless(304, [_NO_CACHE, _NO_SNIFFING, ("ETag", etag)])


def no_content() -> Response:
    """Return a response without a body: it is done."""
    return _bodiless(204, [_NO_STORE, _NO_SNIFFING])


def _plain(
    caching: tuple[str, str],
    media: tuple[str, str],
    body: Any,
    status: int,
    *headers: tuple[str, str],
) -> PlainResponse:
    raw = _encode(body)
    length = ("Content-Length", str(len(raw)))
    return PlainResponse(status, [caching, media, _NO_SNIFFING, length, *headers], raw)


def _bodiless(status: int, headers: list[tuple[str, str]]) -> Response:
    response = Response(status=status, headers=headers)
    del response.headers["Content-Type"]
    return response
