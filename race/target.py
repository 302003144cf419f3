"""The application under test, with the number of the process in each answer.

Servers are told to serve `race.target:create_app`; which application that is, the environment
says. Without the number nobody could tell a worker that counts for itself from a lost update.
"""

from __future__ import annotations

import os
import pkgutil
from inspect import signature
from typing import TYPE_CHECKING, Any

from flask import Flask

from .clients import WORKER_HEADER

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

FACTORY = "race.target:create_app"
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
    """What a target stands for: "module:app", "module:factory" or "module:factory()".

    :raises TypeError: it is not an application.
    """
    found = pkgutil.resolve_name(target.removesuffix("()"))
    app: Any = found() if _is_factory(found) else found
    if not callable(app):
        raise TypeError(f"{target} is no WSGI application and no factory of one")
    return app


def numbered(app: WSGIApplication) -> WSGIApplication:
    """The application, with the process's number in a header of each answer."""

    def answer(environ: WSGIEnvironment, start_response: StartResponse) -> Any:
        def start(status: str, headers: list[tuple[str, str]], *rest: Any) -> Any:
            return start_response(status, [*headers, (WORKER_HEADER, str(os.getpid()))], *rest)

        return app(environ, start)

    return answer


def _is_factory(found: Any) -> bool:
    """Whether it can be called without arguments; an application needs two."""
    try:
        signature(found).bind()
    except TypeError:
        return False
    return True
