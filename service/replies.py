"""JSON answers."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from flask import Response
from flask.json.provider import JSONProvider

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode

_HEADERS = [("Cache-Control", "no-store"), ("Content-Type", "application/json")]


class Reply(Response):
    """A whole answer: its headers are complete and do not depend on the request.

    Werkzeug's own would go through them once more for each request, which costs as much as all
    that a counter's route does by itself.
    """

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response(self.status, self.headers.to_wsgi_list())
        if environ["REQUEST_METHOD"] == "HEAD":
            return ()
        return self.response  # type: ignore[return-value]  # always a list of bytes here


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


class StrictJSON(JSONProvider):
    """JSON as RFC 8259 has it: no NaN, no Infinity; what is read comes out as it went in."""

    def dumps(self, obj: Any, **kwargs: Any) -> str:
        return _encode(obj)

    def loads(self, s: str | bytes, **kwargs: Any) -> Any:
        return json.loads(s, parse_constant=_refuse_constant)

    def response(self, *args: Any, **kwargs: Any) -> Response:
        return reply(self._prepare_response_obj(args, kwargs))


def reply(body: Any, status: int = 200, headers: dict[str, str] | None = None) -> Reply:
    """An answer that tells the state of this moment, for no cache to keep."""
    raw = _encode(body).encode()
    reply = Reply([raw], status, [*_HEADERS, ("Content-Length", str(len(raw)))])
    if headers:
        reply.headers.update(headers)
    return reply


def no_content() -> Reply:
    """An answer without a body: it is done."""
    reply = Reply(status=204, headers={"Cache-Control": "no-store"})
    del reply.headers["Content-Type"]
    return reply
