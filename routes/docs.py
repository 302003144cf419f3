"""``/openapi.json``, the machine-readable contract, and ``/docs``, which shows it to people.

Both are the same for everybody and are made once for an application, when they are first asked for.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from flask import Blueprint, Response, current_app, render_template, request

from service.contract.openapi import document

from .pages import HEADERS, NO_SNIFFING

bp = Blueprint("docs", __name__)


@bp.get("/openapi.json")
def openapi() -> Response:
    """Return the service's routes as OpenAPI 3.1."""
    return _made_once("application/json", lambda: msgspec.json.encode(document(current_app)))


@bp.get("/docs")
def show() -> Response:
    """Return the service's routes as a page to read."""
    response = _made_once("text/html", _page)
    response.headers.update(HEADERS)
    return response


def _page() -> bytes:
    return render_template("docs.html", document=document(current_app)).encode()


def _made_once(media: str, make: Callable[[], bytes]) -> Response:
    """Return a response that caches keep and revalidate each time."""
    made: dict[str, bytes] = current_app.extensions.setdefault("docs", {})
    if media not in made:
        made[media] = make()
    response = Response(made[media], mimetype=media, headers={"Cache-Control": "no-cache"})
    response.headers.update(NO_SNIFFING)
    response.add_etag()
    response.make_conditional(request)
    return response
