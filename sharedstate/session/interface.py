"""Sessions as Flask's extension: ``Session(app)``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import Flask, Request, Response, current_app, request, session
from flask.sessions import SessionInterface

from ..cache import Cache
from ..codec import TEXTS
from ..settings import check
from ..state import State
from .options import TABLE
from .record import Options, Record, SessionUnavailable
from .stored import StoredSession
from .token import is_token
from .users import Entry, Users

if TYPE_CHECKING:
    from flask.sessions import SessionMixin


class Session(SessionInterface):
    """Sessions in the application's store, exact for parallel requests of one client.

    ::

        from sharedstate.session import Session

        Session(app)


        @app.get("/inc")
        def inc():
            session["counter"] = session.get("counter", 0) + 1
            return str(session["counter"])

    The first access of a request takes the session for it, and the response gives it back: another
    request of the same client waits. Its cookie holds a random token and nothing else.

    The store is that of the application's :class:`~sharedstate.Cache`. An application that has
    none gets one.

    :param app: as for :meth:`init_app`.
    """

    def __init__(self, app: Flask | None = None) -> None:
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Let ``flask.session`` be in the application's store.

        :raises ConfigurationError: naming the setting that is wrong.
        """
        if "sharedstate" not in app.extensions:
            Cache(app)
        settings = check(TABLE, app.config)
        app.extensions["sharedstate_sessions"] = Options(
            permanent=settings["SESSION_PERMANENT"],
            locks_reads=settings["SESSION_LOCK"] == "access",
            wait=settings["SESSION_WAIT"],
            lease=settings["SESSION_LEASE"],
            absolute=settings["SESSION_ABSOLUTE_LIFETIME"],
        )
        app.session_interface = self
        app.teardown_request(_release)

    def of(self, user: str) -> list[Entry]:
        """Return the sessions of a user, the oldest one first.

        :param user: what ``session.user`` was set to.
        """
        return _users(current_app).of(user)

    def revoke(self, user: str, *, only: str | None = None, keep: str | None = None) -> int:
        """Remove sessions of a user, from now on, for all their clients.

        :param only: the ``id`` of the one to remove.
        :param keep: that of one to keep, such as ``session.id``.
        :returns: how many were removed.
        """
        return _users(current_app).revoke(user, only, keep)

    def open_session(self, app: Flask, request: Request) -> StoredSession:
        """Return the session of a request; nothing is read before it is used."""
        sent = request.cookies.get(self.get_cookie_name(app), "")
        options: Options = app.extensions["sharedstate_sessions"]
        record = Record(_states(app), sent if is_token(sent) else None, options)
        return StoredSession(record, _users(app), options.permanent)

    def save_session(self, app: Flask, session: SessionMixin, response: Response) -> None:
        """Store the session, and set its cookie.

        If it cannot be stored, 503 takes the place of the response.
        """
        assert isinstance(session, StoredSession)
        if session.accessed:
            response.vary.add("Cookie")
        sent = session.sid
        if not session.accessed and (sent is None or not self.should_set_cookie(app, session)):
            return
        try:
            is_there = session.save(app.permanent_session_lifetime.total_seconds())
        except SessionUnavailable as error:
            _replace(response, error)
            return
        if is_there and (session.sid != sent or self.should_set_cookie(app, session)):
            self._set_cookie(app, session, response)
        elif not is_there and self.get_cookie_name(app) in request.cookies:
            self._delete_cookie(app, response)

    def _set_cookie(self, app: Flask, session: StoredSession, response: Response) -> None:
        response.set_cookie(
            self.get_cookie_name(app),
            str(session.sid),
            expires=self.get_expiration_time(app, session),
            httponly=self.get_cookie_httponly(app),
            domain=self.get_cookie_domain(app),
            path=self.get_cookie_path(app),
            secure=self.get_cookie_secure(app),
            samesite=self.get_cookie_samesite(app),
        )
        response.vary.add("Cookie")

    def _delete_cookie(self, app: Flask, response: Response) -> None:
        response.delete_cookie(
            self.get_cookie_name(app),
            domain=self.get_cookie_domain(app),
            path=self.get_cookie_path(app),
            secure=self.get_cookie_secure(app),
            samesite=self.get_cookie_samesite(app),
            httponly=self.get_cookie_httponly(app),
        )
        response.vary.add("Cookie")


def _states(app: Flask) -> State:
    state: State = app.extensions["sharedstate"].state
    return state.namespace("sessions")


def _users(app: Flask) -> Users:
    state: State = app.extensions["sharedstate"].state
    # In text, which another SECRET_KEY reads too.
    return Users(state.namespace("sessions"), state.namespace("session users", TEXTS))


def _release(error: BaseException | None) -> None:
    """After a request whose session was not saved, as its view or the saving has failed."""
    if isinstance(session, StoredSession):
        session.release()


def _replace(response: Response, error: SessionUnavailable) -> None:
    told = error.get_response()
    response.status_code = told.status_code
    response.headers.clear()
    response.headers.extend(told.headers)
    response.set_data(told.get_data())
