"""Sessions when the application's ``SECRET_KEY`` changes, or when its store is full."""

import pytest
from flask import Flask, session

from sharedstate import Cache, StoreFull, StoreUnavailable
from sharedstate.session import Session


@pytest.fixture
def app():
    app = Flask(__name__)
    app.secret_key = "the first"
    Cache(app, config={"CACHE_TYPE": "simple", "CACHE_CODEC": "signed-pickle"})
    app.sessions = Session(app)

    @app.get("/inc")
    def inc():
        session.user = "ada"
        session["n"] = session.get("n", 0) + 1
        return str(session["n"])

    return app


def test_another_key(app):
    """A client whose session is signed with an older key begins a new one, and can log in."""
    client = app.test_client()
    assert [client.get("/inc").text for _ in range(2)] == ["1", "2"]
    app.config.update(SECRET_KEY="the second", SECRET_KEY_FALLBACKS=["the first"])
    assert client.get("/inc").text == "3"
    app.config.update(SECRET_KEY="the third", SECRET_KEY_FALLBACKS=[])
    before = client.get_cookie("session").value
    assert [client.get("/inc").text for _ in range(2)] == ["1", "2"]
    assert client.get_cookie("session").value != before
    with app.app_context():
        assert app.sessions.revoke("ada") == 2  # The old one was there for its key.


def test_full(app, monkeypatch):
    """A request that finds no room for the session is refused with 503, and may come again."""

    def full(*_):
        raise StoreFull("full")

    client = app.test_client()
    client.get("/inc")
    monkeypatch.setattr(app.extensions["sharedstate"].state.store, "transact", full)
    assert client.get("/inc").status_code == 503


def test_user_that_cannot_be_noted(app, monkeypatch):
    """A login is refused with 503 where the store fails just when its user is noted."""
    store = app.extensions["sharedstate"].state.store
    values = store.values

    def failing(keys):
        if b"session users" in keys[0]:
            raise StoreUnavailable("gone")
        return values(keys)

    monkeypatch.setattr(store, "values", failing)
    response = app.test_client().get("/inc")
    assert response.status_code == 503 and "Set-Cookie" not in response.headers
