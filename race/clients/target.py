"""The application under test, with the number of the process in each response.

Servers are told to serve `race.clients.target:create_app`; which application that is, the
environment says. Without the number nobody could tell a worker that counts for itself from a
lost update.
"""

from __future__ import annotations

import ast
import os
import pkgutil
from inspect import signature
from typing import TYPE_CHECKING, Any

from flask import Flask

from .rush import WORKER_HEADER

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

FACTORY = "race.clients.target:create_app"
TARGET_VARIABLE = "RACE_TARGET"


def create_app() -> Flask:
    """The application that the environment names, ready for any server."""
    app: Any = load(os.environ[TARGET_VARIABLE])
    if not isinstance(app, Flask):
        app, other = Flask(__name__), app  # for `flask run`, which takes nothing else
        app.wsgi_app = other
    app.wsgi_app = numbered(app.wsgi_app)
    return app


def load(target: str) -> WSGIApplication:
    """What a target stands for: "module:app", "module:factory" or "module:factory('argument')".

    :raises ValueError: an argument of the factory is no literal.
    :raises TypeError: it is not an application.
    """
    name, positional, named = _call(target)
    found: Any = pkgutil.resolve_name(name)
    is_called = positional or named or _is_factory(found)
    app: Any = found(*positional, **named) if is_called else found
    if not callable(app):
        raise TypeError(f"{target} is no WSGI application and no factory of one")
    return app


def _call(target: str) -> tuple[str, list[Any], dict[str, Any]]:
    """The name in a target such as ``app:create_app("production", debug=False)``, and arguments.

    As gunicorn has it, they are literals: nothing else is evaluated.
    """
    if not target.endswith(")"):
        return target, [], {}
    module, _, expression = target.partition(":")
    call = ast.parse(expression, mode="eval").body
    if not isinstance(call, ast.Call):
        raise ValueError(f"{target} is no call of a factory")
    named = {word.arg: ast.literal_eval(word.value) for word in call.keywords if word.arg}
    positional = [ast.literal_eval(argument) for argument in call.args]
    return f"{module}:{ast.unparse(call.func)}", positional, named


def numbered(app: WSGIApplication) -> WSGIApplication:
    """The application, with the process's number in a header of each response."""

    def respond(environ: WSGIEnvironment, start_response: StartResponse) -> Any:
        def start(status: str, headers: list[tuple[str, str]], *rest: Any) -> Any:
            return start_response(status, [*headers, (WORKER_HEADER, str(os.getpid()))], *rest)

        return app(environ, start)

    return respond


def _is_factory(found: Any) -> bool:
    """Whether it can be called without arguments; an application needs two."""
    try:
        signature(found).bind()
    except TypeError:
        return False
    return True
