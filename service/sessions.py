"""Who a client is, by a cookie: Flask-Session on the application's own store.

The session holds nothing but the name of the client's state. Flask-Session reads a session when a
request begins and writes it when it ends, so that of two requests at once one is lost; the state
is changed in one step each time instead::

    cookie ── id ──▶ session {"client": name} ──▶ state {"values": {…}, "counters": {…}}
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from functools import wraps
from typing import Any

from flask import Flask, Response, current_app, g, request
from flask_session.cachelib import CacheLibSessionInterface

from common import cache
from sharedstate import SharedStateError, State, StoreUnavailable

_is_id = re.compile(r"[\w-]{43}", re.ASCII).fullmatch

_EMPTY: dict[str, dict[str, Any]] = {"values": {}, "counters": {}}


class ClientSessions(CacheLibSessionInterface):  # type: ignore[misc]  # it has no types
    """Flask-Session's, with a cookie for the session's routes that is Secure behind TLS."""

    def _retrieve_session_data(self, store_id: str) -> dict[str, Any] | None:
        # A cookie may hold anything at all, and what is no id is not worth asking for.
        if not _is_id(store_id):
            return None
        found: dict[str, Any] | None = super()._retrieve_session_data(store_id)
        return found

    def get_cookie_path(self, app: Flask) -> str:
        return f"{request.root_path}/v1/session"

    def get_cookie_httponly(self, app: Flask) -> bool:
        return True

    def get_cookie_samesite(self, app: Flask) -> str:
        return "Lax"

    def get_cookie_secure(self, app: Flask) -> bool:
        return request.is_secure


class Client:
    """What one client keeps; every change of it is one step, and lets it live on."""

    def __init__(self, sessions: ClientSessions, session: Any) -> None:
        self._sessions = sessions
        self._session = session

    def read(self) -> dict[str, dict[str, Any]]:
        """All of it."""
        name = self._session.get("client")
        if name is None:
            return _EMPTY
        _states().touch(name, _lifetime())
        found: dict[str, dict[str, Any]] = _states().get(name, _EMPTY)
        return found

    def change(self, kind: str, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
        """Replace its ``values`` or ``counters``.

        :param change: a pure function of the present ones; it may run more than once.
        """
        if "client" not in self._session:
            self._session["client"] = secrets.token_urlsafe(16)
        name = self._session["client"]

        def changed(item: Any) -> dict[str, Any]:
            present = _EMPTY if item is None else item.value
            return {**present, kind: change(present[kind])}

        try:
            _states().revise(name, changed, timeout=_lifetime())
        except SharedStateError as error:
            if error.key == name:  # Which the client does not know.
                error.key = None
            raise

    def forget(self) -> None:
        """Begin again, with another id and nothing."""
        name = self._session.get("client")
        if name is not None:
            _states().delete(name)
        self._session["client"] = secrets.token_urlsafe(16)
        self._sessions.regenerate(self._session)


def with_client(view: Callable[..., Response]) -> Callable[..., Response]:
    """Let a view have ``g.client``; the cookie is set or renewed with the answer."""

    @wraps(view)
    def in_session(*args: Any, **kwargs: Any) -> Response:
        app = current_app._get_current_object()  # type: ignore[attr-defined]
        sessions = ClientSessions(
            client=_sessions(), key_prefix="", use_signer=False, permanent=True
        )
        session = sessions.open_session(app, request)
        g.client = Client(sessions, session)
        response = view(*args, **kwargs)
        try:
            sessions.save_session(app, session, response)
        except StoreUnavailable as error:
            error.outcome_unknown = True  # What the view has changed is changed.
            raise
        return response

    return in_session


def _sessions() -> State:
    return cache.state.namespace("session")


def _states() -> State:
    return cache.state.namespace("client")


def _lifetime() -> float:
    return current_app.permanent_session_lifetime.total_seconds()
