"""Conditional requests (RFC 9110, section 13), decided by the items they are about."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from hashlib import blake2b

from flask import request
from werkzeug.datastructures import ETags
from werkzeug.exceptions import PreconditionFailed
from werkzeug.http import parse_etags, unquote_etag

from sharedstate import Item


def etag(version: str) -> str:
    """The strong entity tag of an item with this version."""
    return f'"{version}"'


def weak_etag(items: Iterable[Item], *others: object, now: float) -> str:
    """An entity tag that changes with any value, and with any expiry by more than a second."""
    digest = blake2b(repr(others).encode(), digest_size=16)
    for item in items:
        ends = round(now + item.ttl) if item.ttl else 0
        digest.update(f"{item.key}\0{item.version}\0{ends}\0".encode())
    return f'W/"{digest.hexdigest()}"'


class Conditions:
    """What a request demands of the present item before it changes it.

    :param match: the ``If-Match`` header: one of these versions, or ``*`` for any.
    :param none_match: the ``If-None-Match`` header: none of these, or ``*`` for no item at all.
    """

    def __init__(self, match: str | None, none_match: str | None) -> None:
        self._match = None if match is None else parse_etags(match)
        self._none_match = None if none_match is None else parse_etags(none_match)

    @classmethod
    def of_request(cls) -> Conditions | None:
        """Those of the present request, if it has any."""
        environ = request.environ
        match, none_match = environ.get("HTTP_IF_MATCH"), environ.get("HTTP_IF_NONE_MATCH")
        return None if match is None and none_match is None else cls(match, none_match)

    def check(self, item: Item | None) -> None:
        """Raise :exc:`PreconditionFailed` unless they hold for the item."""
        version = item and item.version
        if self._match is not None and not _holds(self._match, version, ETags.is_strong):
            raise PreconditionFailed(
                "There is no value under this key."
                if item is None
                else "The value is not the one that If-Match names; another request has changed it."
            )
        if self._none_match is not None and _holds(self._none_match, version, ETags.contains_weak):
            raise PreconditionFailed("There is a value under this key, as If-None-Match rules out.")


def has_present(present: str) -> bool:
    """Whether the client has the state with this entity tag already (``If-None-Match``)."""
    known = request.environ.get("HTTP_IF_NONE_MATCH")
    return known is not None and parse_etags(known).contains_weak(unquote_etag(present)[0] or "")


def _holds(tags: ETags, version: str | None, contains: Callable[[ETags, str], bool]) -> bool:
    """Whether the tags name the version, or any at all, by the strong or the weak comparison."""
    return version is not None and (tags.star_tag or contains(tags, version))
