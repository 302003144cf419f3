"""All that the service overrides of Flask, Werkzeug and Granian, and uses of their private parts.

What saves less than 5 % of a request is not here. Measured in the process, an increment on
``simple`` (43 µs), each undone by itself, 40 interleaved rounds, Flask 3.1.3, Werkzeug 3.1.9::

    Reply.__call__            Werkzeug goes through the headers again     +18 %    7.8 µs
    create_url_adapter        Werkzeug checks and parses the host again    +9 %    4.0 µs
    preprocess_request   ⎫    Flask looks for the functions of the         +4 %    1.7 µs
    process_response     ⎬    blueprints of a route, which have none;      +5 %    2.0 µs
    do_teardown_request  ⎭    all three together: +13 %                    +5 %    2.0 µs
    full_dispatch_request     instead of Flask's three kinds of hooks     +32 %   14 µs
    current_request, …globals a proxy looks up its context each time       +6 %    2.7 µs
    session_interface         Flask's cookie, with a SECRET_KEY           +25 %   11 µs
    take_shortcut             Granian 2.8.7's event loop                  +12 %   wrk, 16 clients

The bounds in ``requirements.txt`` are the versions that this was read in;
``tests/service/test_overrides.py`` fails first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from flask import Flask, Request, Response, g, request
from flask.ctx import _AppCtxGlobals
from flask.globals import _cv_request
from flask.sessions import NullSession, SessionInterface
from flask.signals import request_tearing_down
from werkzeug.routing import MapAdapter

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

_APP = {None}  # The name under which Flask has the functions for all requests.
_NO_SNIFFING = ("X-Content-Type-Options", "nosniff")

current_request: Callable[[], Request] = request._get_current_object  # type: ignore[attr-defined]
"""Returns the request that :data:`flask.request` stands for."""

current_globals: Callable[[], _AppCtxGlobals] = g._get_current_object
"""Returns the object that :data:`flask.g` stands for."""


class NoSession(SessionInterface):
    """No cookie session: state is in the store, for every client."""

    _none = NullSession()

    def open_session(self, app: Flask, request: Request) -> NullSession:
        return self._none

    def is_null_session(self, obj: object) -> bool:
        return True

    def save_session(self, *arguments: Any) -> None:
        """There is nothing to save."""


class LeanFlask(Flask):
    """Flask whose routes do not depend on the host, without a cookie session."""

    session_interface = NoSession()

    def full_dispatch_request(self) -> Response:
        return self.around(super().full_dispatch_request)

    def around(self, dispatch: Callable[[], Response]) -> Response:
        """Return the response to a request; the place for what surrounds it all.

        :param dispatch: returns the response, or raises what no error handler has handled.
        """
        return dispatch()

    def preprocess_request(self) -> Any:
        if self.url_value_preprocessors or self.before_request_funcs.keys() - _APP:
            return super().preprocess_request()
        for function in self.before_request_funcs[None]:
            returned = self.ensure_sync(function)()
            if returned is not None:
                return returned
        return None

    def process_response(self, response: Response) -> Response:
        # There is no session to save either.
        if self.after_request_funcs or _cv_request.get()._after_request_functions:
            return super().process_response(response)
        return response

    def do_teardown_request(self, exc: BaseException | None = None) -> None:
        if self.teardown_request_funcs:
            super().do_teardown_request(exc)
        else:
            request_tearing_down.send(self, _async_wrapper=self.ensure_sync, exc=exc)

    def create_url_adapter(self, request: Request | None) -> MapAdapter | None:
        settings = self.config
        if request is None or settings["SERVER_NAME"] or settings["TRUSTED_HOSTS"]:
            return super().create_url_adapter(request)
        return MapAdapter(
            self.url_map,
            server_name=request.host,
            script_name=f"{request.root_path}/",
            subdomain="",
            url_scheme=request.scheme,
            path_info=request.path,
            default_method=request.method,
            query_args=request.query_string.decode("latin-1"),
        )


class Reply(Response):
    """A whole response: its headers are complete and do not depend on the request."""

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response(self.status, [*self.headers, _NO_SNIFFING])
        if environ["REQUEST_METHOD"] == "HEAD":
            return ()
        return self.response  # type: ignore[return-value]  # always a list of bytes here


def take_shortcut(has_body: Callable[[Any], bool], respond: Callable[[Any, Any], None]) -> None:
    """Let Granian's own thread respond to what has no body, as it would under WSGI.

    In a version of Granian that has no such place, all requests go over the event loop.

    :param has_body: whether the request of a scope has a body to wait for.
    :param respond: responds to the request of a scope, by its protocol.
    """
    from granian import _futures  # Only its own workers need it.

    to_loop = getattr(_futures, "_cbsched_aioschedule", None)
    if to_loop is None:
        return

    def schedule_by(*arguments: Any) -> Callable[[Any], None]:
        wait = to_loop(*arguments)

        def schedule(request: Any) -> None:
            if has_body(request.scope):
                return wait(request)
            try:
                respond(request.scope, request.proto)
            except BaseException as error:  # noqa: BLE001  # Granian logs it and responds with 500
                request.err(error)
            else:
                request.done()

        return schedule

    _futures._cbsched_aioschedule = schedule_by
