"""Reads what a request carries, with errors that name the member that is wrong."""

from __future__ import annotations

import re
from typing import Any, Generic, TypeVar
from urllib.parse import unquote_to_bytes

import msgspec
from flask import current_app, request
from werkzeug.exceptions import (
    BadRequest,
    LengthRequired,
    RequestEntityTooLarge,
    UnsupportedMediaType,
)

T = TypeVar("T")

JSON = "application/json"
MERGE_PATCH = "application/merge-patch+json"


class Body(Generic[T]):
    """The JSON body of a request as an instance of ``kind``.

    :param kind: a class of :mod:`service.contract.schemas`, or ``Any``.
    :param media: the content type that it has to be sent with.
    """

    def __init__(self, kind: type[T], media: str = JSON) -> None:
        self.kind = kind
        self.media = media
        self.required = not _has_defaults(kind)
        self._decode = msgspec.json.Decoder(kind).decode
        self._empty = None if self.required else kind()

    def read(self) -> T:
        """The body of the present request.

        :raises BadRequest: if it is not as it should be.
        :raises UnsupportedMediaType: if it is sent as something else.
        """
        environ = request.environ
        if not environ.get("CONTENT_LENGTH") and "HTTP_TRANSFER_ENCODING" not in environ:
            return self._nothing()
        raw = _whole_body()
        if raw:
            self._check_media()
        return self.parse(raw, current_app.config["MAX_JSON_DEPTH"])

    def parse(self, raw: bytes, max_depth: int) -> T:
        """What the bytes of a body say.

        :param max_depth: how many levels they may be nested.
        :raises BadRequest: if it is not as it should be.
        """
        if not raw:
            return self._nothing()
        try:
            body = self._decode(raw)
        except msgspec.ValidationError as error:
            raise BadRequest(f"The body is wrong: {_explained(error)}.") from error
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
            raise BadRequest(f"The body is not valid JSON: {error}.") from error
        _check_depth(raw, max_depth)
        return body

    def _nothing(self) -> T:
        if self._empty is None:
            raise BadRequest("The body is empty; it must be JSON.")
        return self._empty

    def _check_media(self) -> None:
        media = request.mimetype
        if media != self.media and not (self.media == JSON and request.is_json):
            raise UnsupportedMediaType(f"Send it with the header Content-Type: {self.media}.")


def _whole_body() -> bytes:
    """The whole body; raises if the client broke off, or has sent more than is allowed."""
    environ, limit = request.environ, request.max_content_length
    is_chunked = "HTTP_TRANSFER_ENCODING" in environ
    if is_chunked and not environ.get("wsgi.input_terminated"):
        raise LengthRequired("This server does not say where a body in chunks ends.")
    raw = request.get_data(cache=False)
    if is_chunked:
        # Werkzeug ends a body in chunks at the limit, as if there were nothing more.
        if limit is not None and len(raw) >= limit:
            raise RequestEntityTooLarge
    elif not environ["CONTENT_LENGTH"].isdecimal():
        raise BadRequest("The Content-Length is not a number.")
    elif len(raw) < int(environ["CONTENT_LENGTH"]):
        raise BadRequest("The body broke off.")
    return raw


def _has_defaults(kind: Any) -> bool:
    return kind is not Any and not any(f.required for f in msgspec.structs.fields(kind))


def read_query(kind: type[T]) -> T:
    """The query of the present request as an instance of ``kind``.

    :raises BadRequest: also if a member is unknown, comes more than once, or is not UTF-8.
    """
    members = request.args
    for name, values in members.lists():
        if len(values) > 1:
            raise BadRequest(f"The query is wrong: {name!r} comes {len(values)} times.")
    try:
        # Werkzeug would leave the escapes in what is not UTF-8.
        unquote_to_bytes(request.query_string).decode()
        return msgspec.convert(members.to_dict(), kind, strict=False)
    except UnicodeDecodeError as error:
        raise BadRequest("The query is wrong: it is not valid UTF-8.") from error
    except msgspec.ValidationError as error:
        raise BadRequest(f"The query is wrong: {_explained(error)}.") from error


def _explained(error: msgspec.ValidationError) -> str:
    """The error's text with the place first: ``'ttl': expected 'float' >= 0.0``."""
    what, _, where = str(error).replace("`", "'").partition(" - at '$")
    path = where.rstrip("'").lstrip(".")
    return f"{path!r}: {what[:1].lower()}{what[1:]}" if path else what


_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_ALIKE = bytes.maketrans(b"{}", b"[]")


def _check_depth(raw: bytes, limit: int) -> None:
    """Refuse JSON that is nested deeper than ``limit`` levels.

    What is left of it without texts, ``[[][]]``, loses its innermost pairs in each iteration.
    """
    if raw.count(b"[") + raw.count(b"{") <= limit:
        return
    without_texts = b"".join(re.sub(rb"\\.", b"", raw, flags=re.DOTALL).split(b'"')[::2])
    brackets = without_texts.translate(_ALIKE, _NO_BRACKETS)
    for _ in range(limit):
        brackets = brackets.replace(b"[]", b"")
    if brackets:
        raise BadRequest(f"The body is nested deeper than {limit} levels.")
