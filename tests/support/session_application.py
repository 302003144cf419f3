"""An application with sessions on its store, and its clients."""

from __future__ import annotations

import pytest
from flask import Flask, session

from sharedstate.session import Session

HOUR = 3600


def application(**settings):
    """The demo of the question, with one import changed, and what the tests need besides."""
    app = Flask(__name__)
    app.testing = True
    app.config.from_mapping({"SESSION_TYPE": "filesystem", "CACHE_TYPE": "simple", **settings})
    app.sessions = Session(app)

    @app.route("/")
    def reset():
        session["counter"] = 0
        return "Counter reset to 0."

    @app.route("/inc")
    def routeA():
        if "counter" not in session:
            session["counter"] = 0
        session["counter"] += 1
        return f"{session['counter']}"

    @app.route("/dec")
    def routeB():
        if "counter" not in session:
            session["counter"] = 0
        session["counter"] -= 1
        return f"{session['counter']}"

    @app.route("/look")
    def look():
        return dict(session)

    @app.route("/untouched")
    def untouched():
        return "nothing read"

    @app.route("/login/<user>")
    def login(user):
        session.regenerate()
        session.user = user
        session["name"] = user
        return session.id or ""

    @app.route("/logout")
    def logout():
        session.clear()
        session.user = None
        return ""

    return app


def store_of(app):
    return app.extensions["sharedstate"].state.store


def cookie(client):
    found = client.get_cookie("session")
    return found and found.value


def another(app, client):
    """One more connection of the same browser."""
    other = app.test_client()
    other.set_cookie("session", cookie(client))
    return other


@pytest.fixture
def app():
    return application()


@pytest.fixture
def client(app):
    return app.test_client()
