"""What belongs to one request: its id, when it began, and that it is counted and logged."""

from __future__ import annotations

import logging
import os
import re
import secrets
from collections.abc import Callable, Iterable, Mapping
from itertools import count
from time import perf_counter
from typing import TYPE_CHECKING, Any

from flask import Flask, request

from .logs import request_id

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

access_log = logging.getLogger("service.access")

HEADER = "X-Request-ID"
METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}

_RULE = "sharedstate.rule"
_is_sane = re.compile("[A-Za-z0-9._-]{1,64}").fullmatch


def init_app(app: Flask) -> None:
    """Give every request an id, and count it with its response."""

    @app.before_request
    def note_rule() -> None:
        request.environ[_RULE] = request.url_rule

    app.wsgi_app = Traced(app, app.wsgi_app)  # type: ignore[method-assign]


class Traced:
    """An application of WSGI with ids for its requests, which are counted and may be logged."""

    def __init__(self, app: Flask, inner: WSGIApplication) -> None:
        self._inner = inner
        self._ended = ending(app)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        began, name, code = perf_counter(), id_of(environ), 500

        def start(status: str, headers: list[tuple[str, str]], *error: Any) -> Any:
            nonlocal code
            code = int(status[:3])
            return start_response(status, [*headers, (HEADER, name)], *error)

        token = request_id.set(name)
        try:
            return self._inner(environ, start)
        finally:
            rule = environ.get(_RULE)
            self._ended(environ, rule and rule.rule, code, perf_counter() - began)
            request_id.reset(token)


def ending(app: Flask) -> Callable[[Mapping[str, Any], str | None, int, float], None]:
    """Return what is to be called at the end of each request: it counts it, and may log it.

    :returns: a function of the request's WSGI environment, the rule of its route if it has one, the
        status of its response, and the seconds that it took.
    """

    def ended(environ: Mapping[str, Any], rule: str | None, status: int, seconds: float) -> None:
        method = environ["REQUEST_METHOD"]
        if rule is None and method not in METHODS:
            method = "other"  # One name for all that clients may make up.
        app.extensions["metrics"].request(method, rule or "none", status, seconds)
        if app.config["ACCESS_LOG"]:
            _log(environ, status, seconds)

    return ended


def _log(environ: Mapping[str, Any], status: int, seconds: float) -> None:
    # Without the query, which may hold a lock's token.
    path = environ.get("SCRIPT_NAME", "") + environ["PATH_INFO"]
    about = {
        "client": _cut(environ.get("REMOTE_ADDR") or "-", 64),
        "method": _cut(environ["REQUEST_METHOD"], 16),
        "path": _cut(path.encode("latin-1").decode(errors="replace"), 1000),
        "status": status,
        "seconds": round(seconds, 6),
    }
    access_log.info("%(client)s %(method)s %(path)s %(status)s %(seconds)s s", about, extra=about)


def _cut(text: str, length: int) -> str:
    """The text that a client has sent, cut off where a line would become too long."""
    return text if len(text) <= length else f"{text[:length]}..."


def id_of(environ: Mapping[str, Any]) -> str:
    """The id of a request: the one that it comes with if that is sane, or a new one."""
    asked = environ.get("HTTP_X_REQUEST_ID")
    return asked if asked and _is_sane(asked) else new_id()


class _Ids:
    """Where ids come from: a random prefix for the process, then 1, 2, 3, …"""

    def __init__(self) -> None:
        self.begin_anew()

    def begin_anew(self) -> None:
        """Take another prefix: a child after a fork must not go on with its parent's."""
        # Iterators of C, so that no two threads get the same one.
        self.new = map(f"{secrets.token_hex(6)}-%d".__mod__, count(1)).__next__


_ids = _Ids()


def new_id() -> str:
    """An id that no other request has."""
    return _ids.new()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_ids.begin_anew)
