"""What each client has for itself, by a cookie whose random token is the key of its state.

Every change is one step on the store, so that requests of one client at once lose nothing::

    cookie ── token ──▶ state {"values": {…}, "counters": {…}}

A token that the store does not have is never adopted (session fixation: an attacker who makes a
browser send a known token would share its state). It is replaced, also when the state goes
meanwhile::

    POST    token known ───────────────────── gone: another token, which the response sets
    DELETE        removes the state, new token
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import wraps
from typing import Any

from flask import Flask, Request, Response, current_app, g, request
from flask.sessions import NullSession, SessionInterface

from common import cache
from sharedstate import ABSENT, SharedStateError, State, StoreUnavailable
from sharedstate.session.token import is_token, new_token

_EMPTY: dict[str, dict[str, Any]] = {"values": {}, "counters": {}}


class NoSession(SessionInterface):
    """No cookie session of Flask's, which costs 11 µs a request once a ``SECRET_KEY`` is set."""

    _none = NullSession()

    def open_session(self, app: Flask, request: Request) -> NullSession:
        return self._none

    def is_null_session(self, obj: object) -> bool:
        return True

    def save_session(self, *arguments: Any) -> None:
        """There is nothing to save."""


def init_app(app: Flask) -> None:
    """Leave Flask's own session out: state is in the store, for every client."""
    app.session_interface = NoSession()


class Client:
    """What one client keeps; every request renews its lifetime.

    :param token: the one that the client has sent, if it is one.
    """

    def __init__(self, token: str | None) -> None:
        self.token = token

    def read(self) -> dict[str, dict[str, Any]]:
        """Return its ``values`` and ``counters``; empty ones if the store has none."""
        if self.token is None:
            return _EMPTY
        with _unnamed(self.token):
            if not _states().touch(self.token, _lifetime()):
                self.token = None
                return _EMPTY
            found: dict[str, dict[str, Any]] = _states().get(self.token, _EMPTY)
            return found

    def change(self, kind: str, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
        """Replace its ``values`` or ``counters``, in one step.

        :param change: a pure function of the present ones; it may run more than once.
        """
        if self.token is None or not self._revise(self.token, kind, change):
            token = new_token()
            self._revise(token, kind, change, is_new=True)
            self.token = token

    def forget(self) -> None:
        """Remove all of it, and begin anew with another token.

        :raises StoreUnavailable: with an unknown outcome, if it fails after the removal.
        """
        if self.token is not None:
            with _unnamed(self.token):
                _states().delete(self.token)
        self.token = new_token()
        try:
            with _unnamed(self.token):
                _states().set(self.token, _EMPTY, _lifetime())
        except StoreUnavailable as error:
            error.outcome_unknown = True
            raise

    def _revise(
        self,
        token: str,
        kind: str,
        change: Callable[[dict[str, Any]], dict[str, Any]],
        *,
        is_new: bool = False,
    ) -> bool:
        """Replace a part of a state, and return whether there is one."""

        def changed(item: Any) -> Any:
            if item is None and not is_new:
                return ABSENT
            present = _EMPTY if item is None else item.value
            return {**present, kind: change(present[kind])}

        with _unnamed(token):
            return _states().revise(token, changed, timeout=_lifetime()) is not ABSENT


def with_client(view: Callable[..., Response]) -> Callable[..., Response]:
    """Let a view have ``g.client``; its response sets or renews the cookie."""

    @wraps(view)
    def in_session(*args: Any, **kwargs: Any) -> Response:
        sent = request.cookies.get(current_app.config["SESSION_COOKIE_NAME"], "")
        g.client = client = Client(sent if is_token(sent) else None)
        response = view(*args, **kwargs)
        response.vary.add("Cookie")
        if client.token is not None:
            _set_cookie(response, client.token)
        return response

    return in_session


def _set_cookie(response: Response, token: str) -> None:
    config = current_app.config
    response.set_cookie(
        config["SESSION_COOKIE_NAME"],
        token,
        expires=datetime.now(UTC) + current_app.permanent_session_lifetime,
        path=f"{request.root_path}/v1/session",
        domain=config["SESSION_COOKIE_DOMAIN"],
        secure=request.is_secure,
        httponly=True,
        samesite="Lax",
    )


@contextmanager
def _unnamed(token: str) -> Iterator[None]:
    """Keep a token, with which anybody would be this client, out of responses and logs."""
    try:
        yield
    except SharedStateError as error:
        if error.key == token:
            error.key = None
        raise


def _states() -> State:
    return cache.state.namespace("client")


def _lifetime() -> float:
    return current_app.permanent_session_lifetime.total_seconds()
