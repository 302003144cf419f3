"""JSON answers."""

from __future__ import annotations

import json
from typing import Any

from flask import Response, current_app
from flask.json.provider import JSONProvider

_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode

_HEADERS = {"Cache-Control": "no-store", "Content-Type": "application/json"}


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


def reply(body: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """An answer that tells the state of this moment, for no cache to keep."""
    return current_app.response_class(
        _encode(body), status, {**_HEADERS, **headers} if headers else _HEADERS
    )


def no_content() -> Response:
    """An answer without a body: it is done."""
    response = current_app.response_class(status=204, headers={"Cache-Control": "no-store"})
    del response.headers["Content-Type"]
    return response
