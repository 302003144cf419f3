"""``/openapi.json``, the machine-readable contract, and ``/docs``, which shows it to people."""

from __future__ import annotations

from flask import Blueprint, Response, current_app, make_response, render_template

from service.openapi import document
from service.replies import reply

from .pages import HEADERS

bp = Blueprint("docs", __name__)


@bp.get("/openapi.json")
def openapi() -> Response:
    """The service's routes as OpenAPI 3.1."""
    return reply(document(current_app), headers={"Cache-Control": "no-cache"})


@bp.get("/docs")
def show() -> Response:
    """The service's routes, to read."""
    page = make_response(render_template("docs.html", document=document(current_app)))
    page.headers.update(HEADERS)
    return page
