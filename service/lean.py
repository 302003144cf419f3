"""Flask without what this service does not use, which is a third of a request's cost."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import Flask, Request, Response
from flask.globals import _cv_request
from flask.sessions import NullSession, SessionInterface
from flask.signals import request_tearing_down
from werkzeug.routing import MapAdapter

_APP = {None}  # What Flask has the functions for all requests under.


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
    """Flask whose routes do not depend on the host, without cookie session and async views."""

    session_interface = NoSession()

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        return func

    # Flask asks for the functions of each blueprint that a route is in, three times a request.

    def preprocess_request(self) -> Any:
        if self.url_value_preprocessors or self.before_request_funcs.keys() - _APP:
            return super().preprocess_request()
        for function in self.before_request_funcs[None]:
            answer = function()
            if answer is not None:
                return answer
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
