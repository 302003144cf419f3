"""What is overridden of other packages is as it was read, and does what they do."""

from __future__ import annotations

import inspect
import re
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from flask import Blueprint, Flask, Response, after_this_request, request, request_tearing_down
from werkzeug.test import EnvironBuilder, run_wsgi_app

from service import overrides
from service.overrides import LeanFlask


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


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("full_dispatch_request", ["self"]),
        ("preprocess_request", ["self"]),
        ("process_response", ["self", "response"]),
        ("do_teardown_request", ["self", "exc"]),
        ("create_url_adapter", ["self", "request"]),
    ],
)
def test_flask_has_what_is_overridden(name: str, parameters: list[str]) -> None:
    """Flask's methods take what ours take; another version's would be called in vain."""
    for cls in (Flask, LeanFlask):
        assert list(inspect.signature(getattr(cls, name)).parameters) == parameters


def test_private_parts_are_as_they_were_read() -> None:
    """What has a leading underscore in Flask and Granian is there, and is what it was."""
    from granian import _futures

    assert list(inspect.signature(_futures._cbsched_aioschedule).parameters)
    with Flask("stock").test_request_context() as context:
        assert overrides._cv_request.get() is context
        assert context._after_request_functions == []
        assert overrides.current_request() is context.request
        assert "request_id" not in vars(overrides.current_globals())


@pytest.mark.parametrize("package", ["flask", "werkzeug", "granian"])
def test_versions_are_bounded(package: str) -> None:
    """requirements.txt allows the minor version that was read, which is installed, and no later."""
    text = (Path(__file__).parents[2] / "requirements.txt").read_text()
    bounds = re.search(rf"^{package}>=(\d+)\.(\d+),<(\d+)\.(\d+)$", text, re.MULTILINE)
    assert bounds
    major, minor, next_major, following = map(int, bounds.groups())
    assert (next_major, following) == (major, minor + 1)
    assert version(package).startswith(f"{major}.{minor}.")


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_reply_is_what_werkzeug_would_send(method: str) -> None:
    """With all headers given, and the one that is added to each."""
    headers = {"Content-Type": "application/json", "Content-Length": "2", "X-Other": "a"}

    def sent(cls: type[Response]) -> tuple[str, list[tuple[str, str]], bytes]:
        response = cls([b"{}"], 201, headers)
        environ = EnvironBuilder("/", method=method).get_environ()
        parts, status, sent_headers = run_wsgi_app(response, environ)
        return status, list(sent_headers), b"".join(parts)

    status, stock_headers, body = sent(Response)
    expected = sorted([*stock_headers, ("X-Content-Type-Options", "nosniff")])
    reply = sent(overrides.Reply)
    assert (reply[0], sorted(reply[1]), reply[2]) == (status, expected, body)
