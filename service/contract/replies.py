"""JSON responses."""

from __future__ import annotations

from typing import Any

import msgspec

from ..overrides import Reply

_encode = msgspec.json.encode

_HEADERS = [("Cache-Control", "no-store"), ("Content-Type", "application/json")]


def reply(body: Any, status: int = 200, headers: dict[str, str] | None = None) -> Reply:
    """Return a response that tells the state of this moment, which no cache keeps.

    :param body: an instance of :mod:`service.contract.schemas`.
    :param headers: besides the usual ones, or in their place.
    """
    raw = _encode(body)
    reply = Reply([raw], status, [*_HEADERS, ("Content-Length", str(len(raw)))])
    if headers:
        reply.headers.update(headers)
    return reply


def tagged(body: Any, etag: str, status: int = 200) -> Reply:
    """Return a response with an entity tag, which a cache may keep and has to revalidate."""
    return reply(body, status, {"ETag": etag, "Cache-Control": "no-cache"})


def unread() -> Reply:
    """Return a response to HEAD, without the headers that only the content tells."""
    headers = {"Cache-Control": "no-cache", "Content-Type": "application/json"}
    return Reply(status=200, headers=headers)


def not_modified(etag: str) -> Reply:
    """Return a response for a client that has the present state already."""
    return _bodiless(304, {"ETag": etag, "Cache-Control": "no-cache"})


def no_content() -> Reply:
    """Return a response without a body: it is done."""
    return _bodiless(204, {"Cache-Control": "no-store"})


def _bodiless(status: int, headers: dict[str, str]) -> Reply:
    reply = Reply(status=status, headers=headers)
    del reply.headers["Content-Type"]
    return reply
