"""JSON answers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import msgspec
from flask import Response

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

_encode = msgspec.json.encode

_HEADERS = [("Cache-Control", "no-store"), ("Content-Type", "application/json")]
_NO_SNIFFING = ("X-Content-Type-Options", "nosniff")


class Reply(Response):
    """A whole answer: its headers are complete and do not depend on the request.

    Werkzeug's own would go through them once more for each request, which costs as much as all
    that a counter's route does by itself.
    """

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response(self.status, [*self.headers, _NO_SNIFFING])
        if environ["REQUEST_METHOD"] == "HEAD":
            return ()
        return self.response  # type: ignore[return-value]  # always a list of bytes here


def reply(body: Any, status: int = 200, headers: dict[str, str] | None = None) -> Reply:
    """An answer that tells the state of this moment, for no cache to keep."""
    raw = _encode(body)
    reply = Reply([raw], status, [*_HEADERS, ("Content-Length", str(len(raw)))])
    if headers:
        reply.headers.update(headers)
    return reply


def tagged(body: Any, etag: str, status: int = 200) -> Reply:
    """An answer with an entity tag, which a cache may keep and has to ask about each time."""
    return reply(body, status, {"ETag": etag, "Cache-Control": "no-cache"})


def unread() -> Reply:
    """The headers of an answer to GET, for HEAD: but those that would take all of its content."""
    headers = {"Cache-Control": "no-cache", "Content-Type": "application/json"}
    return Reply(status=200, headers=headers)


def not_modified(etag: str) -> Reply:
    """An answer for a client that has the present state already."""
    return _bodiless(304, {"ETag": etag, "Cache-Control": "no-cache"})


def no_content() -> Reply:
    """An answer without a body: it is done."""
    return _bodiless(204, {"Cache-Control": "no-store"})


def _bodiless(status: int, headers: dict[str, str]) -> Reply:
    reply = Reply(status=status, headers=headers)
    del reply.headers["Content-Type"]
    return reply
