"""Responds to hot requests before Flask: increments, and reading and writing one value.

The front recognizes, and does not decide. A request with a header, query, method, length or
character that it does not know goes to Flask before the store is touched, and so does one that is
refused without a change, which Flask then refuses by itself. What it does is what the views do, in
:mod:`service.hot`; who may, is decided by :func:`service.access.guard`::

    POST /v1/counters/a ─┬─ known ── the store ─┬─ done, or the store is unavailable ── response
                         └─ else ───────────────┴─ refused ── Flask
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from copy import copy
from time import perf_counter
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from werkzeug.exceptions import HTTPException, SecurityError
from werkzeug.middleware.proxy_fix import ProxyFix
from werkzeug.wsgi import get_host

from common import cache
from sharedstate import NotSupported, SharedStateError, StoreUnavailable
from sharedstate.keyspace import version
from sharedstate.stores.base import Store
from sharedstate.stores.operations import Operation

from .. import hot
from ..access import guard
from ..contract.bodies import JSON
from ..contract.errors import failure
from ..logs import named
from ..tracing import HEADER, Traced, ending, id_of
from .waiting import Awaited

if TYPE_CHECKING:
    from flask import Flask
    from granian.rsgi import HTTPProtocol, Scope  # type: ignore[attr-defined]  # not re-exported

T = TypeVar("T")

FLASK, RESPONDED, LATER = 0, 1, 2
"""What becomes of a request: it is Flask's; it has its response; or it will, as ``later`` says."""

_TASKS: dict[tuple[str, str], tuple[str, Callable[..., hot.Task]]] = {
    ("POST", "counters"): ("counters.increment", hot.increment),
    ("GET", "counters"): ("counters.show", hot.show_number),
    ("GET", "values"): ("values.show", hot.show),
    ("PUT", "values"): ("values.put", hot.put),
}
_path = re.compile(r"/v1/(counters|values)/([A-Za-z0-9._~!$&'()*+,;=:@/-]{1,250})").fullmatch
_LABEL = "[A-Za-z0-9-]{1,50}"
_host = re.compile(
    rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9a-fA-F:.]{{2,45}}\])(?::[0-9]{{1,5}})?"
).fullmatch
_NAMES = {
    "content-length": "CONTENT_LENGTH",
    "content-type": "CONTENT_TYPE",
    **{
        name: f"HTTP_{name.upper().replace('-', '_')}"
        for name in (
            *("accept", "accept-encoding", "accept-language", "authorization", "cache-control"),
            *("connection", "cookie", "dnt", "host", "origin", "pragma", "priority", "referer"),
            *("sec-ch-ua", "sec-ch-ua-mobile", "sec-ch-ua-platform", "sec-fetch-dest"),
            *("sec-fetch-mode", "sec-fetch-site", "sec-gpc", "user-agent", "x-request-id"),
            *("traceparent", "tracestate", "via", "x-real-ip", "x-forwarded-for"),
            *("x-forwarded-host", "x-forwarded-port", "x-forwarded-prefix", "x-forwarded-proto"),
        )
    },
}
"""The headers that change nothing, or are looked at here as in Flask, and what WSGI calls them."""
_NAMES_TO_WAIT = _NAMES | {"if-none-match": "HTTP_IF_NONE_MATCH", "prefer": "HTTP_PREFER"}


class _Route(NamedTuple):
    rule: str
    read: Callable[[bytes, int], Any] | None
    """Reads a body, if the route has one."""
    task: Callable[..., hot.Task]


class Front:
    """The front of an application, in the context of which it is made.

    :param pool: the threads that ask a store with a server, as its reply may be slow.
    """

    def __init__(self, app: Flask, pool: Executor) -> None:
        self._pool = pool
        self._routes = dict(_routes(app)) if _is_known(app) else {}
        self._behind_proxies = _proxies_of(app)
        self._trusted: list[str] | None = app.config["TRUSTED_HOSTS"]
        self._refuse = guard(app)
        self._ended = ending(app)
        self._logs: bool = app.config["ACCESS_LOG"]
        self._limit: int = app.config["MAX_CONTENT_LENGTH"]
        self._depth: int = app.config["MAX_JSON_DEPTH"]
        self._state = cache.state if self._routes else None

    def __call__(
        self,
        scope: Scope,
        client: HTTPProtocol,
        body: bytes = b"",
        later: Callable[[bool], object] = bool,
    ) -> int:
        """Respond to a request if it is known.

        :param later: is called if this returns ``LATER``, perhaps in another thread: with whether
            the request has its response now. If not, Flask has to respond.
        :returns: ``FLASK``, ``RESPONDED`` or ``LATER``.
        """
        began, method = perf_counter(), scope.method
        found = _path(scope.path)
        route = found and self._routes.get((method, found[1]))
        if not route or not found or scope.query_string:
            return FLASK
        environ = self._environ(scope.headers, body)
        if environ is None or (body and route.read is None):
            return FLASK
        space, key = self._state.keyspace, found[2]  # type: ignore[union-attr]  # with routes
        try:
            self._admit(scope, environ)
            task = route.task(space, key, route.read and route.read(body, self._depth))
            keys = (space.key(key),)
        except Exception:  # noqa: BLE001  # Flask meets it too, and responds
            return FLASK

        def done(result: Any, error: BaseException | None) -> bool:
            return self._respond(client, environ, route.rule, task, began, result, error)

        def done_later(result: Any, error: BaseException | None) -> None:
            has_responded = True  # Where this fails, what was done must not be done again.
            try:
                has_responded = done(result, error)
            finally:
                later(has_responded)

        store, operation = space.store, task.operation
        if store.combines and (operation.writes or store.has_server):
            store.submit(keys, operation, done_later)
            return LATER
        if store.has_server:  # One that is slow must not hold up the thread that reads requests.
            self._pool.submit(_do, store, keys, operation, done_later)
            return LATER
        return RESPONDED if _do(store, keys, operation, done) else FLASK

    def awaited(self, scope: Scope) -> Awaited | None:
        """Return what a request asks to wait for, if it may."""
        found = _path(scope.path)
        if not found or ("GET", found[1]) not in self._routes or scope.query_string:
            return None
        environ = self._environ(scope.headers, b"", _NAMES_TO_WAIT)
        if found[1] != "values" or scope.method != "GET" or environ is None:
            return None
        try:
            self._admit(scope, environ)
            key = self._state.keyspace.key(found[2])  # type: ignore[union-attr]  # with routes
            return Awaited.of(key, environ["HTTP_PREFER"], environ["HTTP_IF_NONE_MATCH"])
        except Exception:  # noqa: BLE001  # Flask meets it too, and responds
            return None

    def versions(self, keys: Sequence[bytes]) -> Iterator[str | None]:
        """Return the versions of the values of keys as the store has them."""
        found = self._state.keyspace.store.values(keys)  # type: ignore[union-attr]  # with routes
        return (None if raw is None else version(raw) for raw in found)

    def _admit(self, scope: Scope, environ: dict[str, str]) -> None:
        """Raise unless the client may do this, as Flask would."""
        environ["REQUEST_METHOD"] = scope.method
        environ["PATH_INFO"] = scope.path
        environ["REMOTE_ADDR"] = address(scope.client)[0]
        if self._behind_proxies or self._trusted:
            environ["wsgi.url_scheme"] = scope.scheme
        if self._behind_proxies:
            self._behind_proxies(environ, _no_start)
        if _host(environ.get("HTTP_HOST", "")) is None:
            raise SecurityError
        if self._trusted:
            get_host(environ, self._trusted)
        self._refuse(environ, False)

    def _environ(
        self, headers: Any, body: bytes, names: dict[str, str] = _NAMES
    ) -> dict[str, str] | None:
        """What WSGI calls the headers, if all are known, and all of the body is there."""
        lines = headers.items()
        try:
            environ = {names[name]: value for name, value in lines}
        except KeyError:
            return None
        # One that comes twice is there twice, and one that is not ASCII is not there.
        if not len(environ) == len(lines) == len(headers):
            return None
        if environ.get("CONTENT_LENGTH", "0") != str(len(body)):
            return None
        if body and (environ.get("CONTENT_TYPE") != JSON or len(body) > self._limit):
            return None
        return environ

    def _respond(
        self,
        client: HTTPProtocol,
        environ: dict[str, str],
        rule: str,
        task: hot.Task,
        began: float,
        result: Any,
        error: BaseException | None,
    ) -> bool:
        """Respond, and return whether it has: Flask refuses what changed nothing."""
        name = id_of(environ)
        if error is None:
            try:
                status, headers, body = task.respond(result)
            except (HTTPException, SharedStateError):
                return False
        elif isinstance(error, SharedStateError) and not isinstance(error, StoreUnavailable):
            return False
        else:
            with named(name):
                status, headers, body = failure(error)
        seconds = perf_counter() - began
        if self._logs:
            with named(name):
                self._ended(environ, rule, status, seconds)
        else:
            self._ended(environ, rule, status, seconds)
        client.response_bytes(status, [*headers, (HEADER, name)], body)
        return True


def _routes(app: Flask) -> Iterator[tuple[tuple[str, str], _Route]]:
    rules = {rule.endpoint: rule.rule for rule in app.url_map.iter_rules()}
    for what, (endpoint, task) in _TASKS.items():
        view: Any = app.view_functions[endpoint]
        body = view.contract.body
        yield what, _Route(rules[endpoint], body and body.parse, task)


def _is_known(app: Flask) -> bool:
    """Whether nothing is set for the application, or added to it, that the front leaves out."""
    config, functions = app.config, app.before_request_funcs
    added = (app.url_value_preprocessors, app.after_request_funcs, app.teardown_request_funcs)
    if not config["FRONT"] or config["SERVER_NAME"] or any(added):
        return False
    if not all(function.__module__.startswith("service.") for function in functions.get(None, ())):
        return False
    with suppress(NotSupported):  # On a backend of Flask-Caching's there is no such state.
        outermost: Any = app.wsgi_app
        inner = outermost.app if type(outermost) is ProxyFix else outermost
        return type(inner) is Traced and set(functions) <= {None} and bool(cache.state)
    return False


def _proxies_of(app: Flask) -> ProxyFix | None:
    """What changes an environment as the application's ProxyFix does, and calls no application."""
    outermost = app.wsgi_app
    if type(outermost) is not ProxyFix:
        return None
    changing = copy(outermost)
    changing.app = lambda environ, start: ()
    return changing


def _no_start(*arguments: Any) -> Any:
    """Starts no response."""


def _do(store: Store, keys: tuple[bytes], operation: Operation, done: Callable[[Any, Any], T]) -> T:
    try:
        result = store.transact(keys, operation) if operation.writes else store.read(keys)[0]
    except Exception as error:  # noqa: BLE001  # responded to, or met by Flask again
        return done(None, error)
    return done(result, None)


def address(text: str) -> tuple[str, str]:
    """The address and the port of one end of a connection."""
    host, _, port = text.rpartition(":")
    return host.strip("[]"), port
