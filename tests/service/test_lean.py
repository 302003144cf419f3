"""Flask without what the service does not use still does what Flask does."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Blueprint, Flask, after_this_request, request, request_tearing_down

from service.lean import LeanFlask


def calls_of(app: Flask, *registered: str) -> list[str]:
    """What is called for three requests, the last of which is answered before its view."""
    called: list[str] = []
    bp = Blueprint("bp", __name__)

    def calling(name: str, answer: Any = None) -> Any:
        def function(*arguments: Any) -> Any:
            called.append(name)
            return arguments[0] if name.endswith("after_request") else answer

        return function

    for name in registered:
        owner, _, kind = name.partition(".")
        getattr({"app": app, "bp": bp}[owner], kind)(calling(name))

    @bp.get("/<what>")
    def view(what: str) -> str:
        called.append("view")
        if what == "asks":
            after_this_request(calling("this.after_request"))
        return what

    @app.before_request
    def answer() -> str | None:
        called.append("answer")
        return "" if request.path == "/refused" else None

    app.register_blueprint(bp)

    def told(sender: Flask, **arguments: Any) -> None:
        called.append("torn down")

    with request_tearing_down.connected_to(told, app):
        for path in ("/a", "/asks", "/refused"):
            app.test_client().get(path)
    return called


@pytest.mark.parametrize(
    "registered",
    [
        (),
        ("app.before_request",),
        ("bp.before_request",),
        ("app.url_value_preprocessor", "app.after_request"),
        ("bp.url_value_preprocessor", "app.teardown_request"),
        ("bp.after_request", "bp.teardown_request"),
        ("app.before_request", "bp.after_request", "app.after_request", "bp.teardown_request"),
    ],
)
def test_functions_are_called_as_flask_calls_them(registered: tuple[str, ...]) -> None:
    """Those before and after a request, of the application and of blueprints, in Flask's order."""
    expected = calls_of(Flask("stock"), *registered)
    assert calls_of(LeanFlask("lean"), *registered) == expected
    assert {"view", "this.after_request", "torn down", *registered} <= set(expected)
