"""``flask.session`` on the application's store."""

# ruff: noqa: F811  # the fixtures that are imported are arguments of the tests

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from flask import Flask, session
from session_application import another, app, application, client, cookie, store_of  # noqa: F401  # fixtures

from race.judging import checkers
from sharedstate import Cache, ConfigurationError
from sharedstate.session import Session


def test_parallel_requests_are_exact(race_settings):
    """``session["counter"] += 1`` of one browser's requests at once gives each another number."""
    app = application(**race_settings, SESSION_WAIT=60)
    client = app.test_client()
    assert client.get("/").text == "Counter reset to 0."
    clients = [another(app, client) for _ in range(12)]
    with ThreadPoolExecutor(12) as pool:
        numbers = [int(each.text) for each in pool.map(lambda it: it.get("/inc"), clients)]
    assert checkers.exactly_one_to(numbers, 12)
    assert client.get("/dec").text == "11"
    assert client.get("/look").get_json() == {"counter": 11}
    store_of(app).close()


def test_control():
    """Without the lease it gives numbers twice: what a session holds is read, and then stored."""
    app = application()
    gate = threading.Barrier(2)

    @app.route("/slow")
    def slow():
        number = session.get("counter", 0)
        gate.wait(60)
        session["counter"] = number + 1
        return str(number + 1)

    options = app.extensions["sharedstate_sessions"]
    app.extensions["sharedstate_sessions"] = replace(options, locks_reads=False)
    client = app.test_client()
    client.get("/")
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda it: it.get("/slow"), [another(app, client) for _ in "ab"]))
    # The second change is refused, as it is of what was read before the first.
    assert sorted(response.status_code for response in found) == [200, 503]
    assert client.get("/look").get_json() == {"counter": 1}


class TestClient:
    def test_of_its_own(self, app, client):
        """Each client has a session of its own, by a cookie that only holds a token."""
        assert [client.get("/inc").text, client.get("/inc").text] == ["1", "2"]
        assert app.test_client().get("/inc").text == "1"
        assert len(cookie(client)) == 43

    def test_nothing_is_stored_for_nothing(self, app, client):
        """A request that does not use the session, or only reads it, makes none."""
        for path in ("/untouched", "/look"):
            assert "Set-Cookie" not in client.get(path).headers
        with app.app_context():
            assert app.extensions["sharedstate"].state.namespace("sessions").keys() == []

    def test_vary(self, client):
        """What depends on the session says so, and nothing else does."""
        assert client.get("/look").headers["Vary"] == "Cookie"
        assert "Vary" not in client.get("/untouched").headers

    @pytest.mark.parametrize("token", ["x" * 43, "short", "../../etc"])
    def test_unknown_tokens_are_not_adopted(self, app, client, token):
        """A token that somebody has planted is replaced."""
        client.set_cookie("session", token)
        assert client.get("/inc").text == "1"
        assert cookie(client) != token
        client.set_cookie("session", token)
        assert client.get("/look").get_json() == {}

    def test_types(self, app, client):
        """The types of Flask's own session come back as they are."""
        value = (1, {"a": [b"bytes"]}, None)

        @app.route("/set")
        def put():
            session["value"] = value
            return ""

        @app.route("/get")
        def get():
            return str(session["value"] == value)

        client.get("/set")
        assert client.get("/get").text == "True"

    def test_nested_changes(self, app, client):
        """A change inside a value is stored without being told."""

        @app.route("/add")
        def add():
            session.setdefault("items", []).append(1)
            return str(len(session["items"]))

        assert [client.get("/add").text for _ in range(3)] == ["1", "2", "3"]

    def test_permanent(self, app, client):
        """A session is permanent unless it says otherwise; then its cookie has no end."""

        @app.route("/temporary")
        def temporary():
            session.permanent = False
            return ""

        assert "Expires" in client.get("/inc").headers["Set-Cookie"]
        assert "Expires" not in client.get("/temporary").headers["Set-Cookie"]
        assert client.get("/inc").text == "2"

    def test_cookie_settings(self):
        """Flask's settings of the cookie hold."""
        app = application(
            SESSION_COOKIE_NAME="mine",
            SESSION_COOKIE_SECURE=True,
            SESSION_COOKIE_SAMESITE="Strict",
            SESSION_COOKIE_PATH="/inc",
            SESSION_PERMANENT=False,
        )
        header = app.test_client().get("/inc").headers["Set-Cookie"]
        assert header.startswith("mine=") and "Expires" not in header
        assert {"Secure", "HttpOnly", "Path=/inc", "SameSite=Strict"} <= {*header.split("; ")}

    def test_the_store_does_not_have_the_token(self, app, client):
        """Who reads the store, or a backup of it, has nobody's session by that."""
        client.get("/login/ada")
        raw = b"".join(key + value for key, (value, _) in store_of(app).snapshot())
        assert b"ada" in raw
        assert cookie(client).encode() not in raw

    def test_clear(self, app, client):
        """A session that was cleared is gone, and its cookie with it."""
        client.get("/inc")
        before = cookie(client)
        client.get("/logout")
        assert cookie(client) is None
        client.set_cookie("session", before)
        assert client.get("/look").get_json() == {}

    def test_session_transaction(self, client):
        """Flask's own way for tests to change a session works."""
        with client.session_transaction() as it:
            it["counter"] = 5
        assert client.get("/inc").text == "6"


def test_on_the_caches_store(tmp_path):
    """An application with a Cache has its sessions in that store, apart from all its keys."""
    app = Flask(__name__)
    cache = Cache(app, config={"CACHE_TYPE": "filesystem", "CACHE_DIR": str(tmp_path)})
    Session(app)

    @app.route("/")
    def home():
        session["a"] = 1
        return ""

    app.test_client().get("/")
    with app.app_context():
        assert cache.keys() == []
        assert len(cache.state.namespace("sessions").keys()) == 1
        cache.state.close()


@pytest.mark.parametrize("name, value", [("SESSION_LOCK", "never"), ("SESSION_WAIT", "soon")])
def test_wrong_settings(name, value):
    """A wrong setting is refused at once, by name."""
    with pytest.raises(ConfigurationError, match=name):
        application(**{name: value})
