"""``flask.session`` on the application's store."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace

import pytest
from backends import FakeClock
from flask import Flask, Response, session, stream_with_context

from race.judging import checkers
from sharedstate import Cache, ConfigurationError, StoreUnavailable
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


class TestTime:
    def now(self, app):
        clock = [0.0]
        store_of(app).clock = lambda: 1_000_000 + clock[0]
        return clock

    def test_sliding(self):
        """Each request renews the lifetime, also one that does not use the session."""
        app = application(PERMANENT_SESSION_LIFETIME=HOUR)
        clock, client = self.now(app), app.test_client()
        client.get("/inc")
        for path in ("/untouched", "/look", "/inc"):
            clock[0] += 0.9 * HOUR
            client.get(path)
        assert client.get("/look").get_json() == {"counter": 2}
        clock[0] += 1.1 * HOUR
        assert client.get("/look").get_json() == {}

    def test_not_refreshed(self):
        """Unless SESSION_REFRESH_EACH_REQUEST is off: then its use does."""
        app = application(PERMANENT_SESSION_LIFETIME=HOUR, SESSION_REFRESH_EACH_REQUEST=False)
        clock, client = self.now(app), app.test_client()
        client.get("/inc")
        clock[0] += 0.9 * HOUR
        assert "Set-Cookie" not in client.get("/untouched").headers
        clock[0] += 0.9 * HOUR
        assert client.get("/inc").text == "1"

    def test_absolute(self):
        """SESSION_ABSOLUTE_LIFETIME ends it, however often it is used."""
        app = application(SESSION_ABSOLUTE_LIFETIME="1h")
        clock, client = self.now(app), app.test_client()
        client.get("/inc")
        clock[0] += 0.9 * HOUR
        assert client.get("/inc").text == "2"
        clock[0] += 0.2 * HOUR
        assert client.get("/inc").text == "1"


class TestUsers:
    def test_regenerate(self, app, client):
        """A login gives the session another token; the old one opens nothing."""
        client.get("/inc")
        before = another(app, client)
        client.get("/login/ada")
        assert cookie(client) != cookie(before)
        assert client.get("/look").get_json() == {"counter": 1, "name": "ada"}
        assert before.get("/look").get_json() == {}

    def test_list_and_revoke(self, app):
        """The sessions of a user can be listed, and revoked one by one or all but one."""
        clients = [app.test_client() for _ in range(4)]
        for client in clients:
            client.get("/login/ada")
        app.test_client().get("/login/bob")
        with app.app_context():
            listed = app.sessions.of("ada")
            assert len(listed) == 4 and len(app.sessions.of("bob")) == 1
            assert not {entry.id for entry in listed} & {cookie(client) for client in clients}
            mine = clients[0].get("/login/ada").text
            assert mine in {entry.id for entry in listed}
            own = {entry.id for entry in app.sessions.of("ada")} - {entry.id for entry in listed}
            other = next(entry.id for entry in listed if entry.id != mine)
            assert app.sessions.revoke("ada", only=other) == 1
            assert app.sessions.revoke("ada", keep=own.pop()) == 2
            assert len(app.sessions.of("ada")) == 1
        assert [client.get("/look").get_json() != {} for client in clients].count(True) == 1
        clients[0].get("/logout")
        with app.app_context():
            assert app.sessions.of("ada") == []
            assert app.sessions.revoke("ada") == 0

    def test_revoked_meanwhile(self, app, client):
        """A request whose session was revoked while it ran stores nothing."""

        @app.route("/slow")
        def slow():
            session["counter"] += 1
            app.sessions.revoke("ada")
            return ""

        client.get("/login/ada")
        client.get("/")
        assert client.get("/slow").status_code == 503
        assert client.get("/look").get_json() == {}


@contextmanager
def busy(app, client):
    """While another request of the client has set its counter to 7, and has no response yet."""
    inside, done = threading.Event(), threading.Event()

    @app.route("/long")
    def long():
        session["counter"] = 7
        inside.set()
        done.wait(30)
        return ""

    client.get("/")
    slow = threading.Thread(target=another(app, client).get, args=("/long",))
    slow.start()
    try:
        assert inside.wait(30)
        yield
    finally:
        done.set()
        slow.join(30)


class TestBusy:
    def test_waiting_is_bounded(self):
        """A request that waits for too long is 503, with the time after which to try again."""
        app = application(SESSION_WAIT="20ms")
        client = app.test_client()
        with busy(app, client):
            refused = client.get("/inc")
            assert (refused.status_code, refused.headers["Retry-After"]) == (503, "1")
            assert client.get("/untouched").status_code == 200
        assert client.get("/inc").text == "8"

    def test_lease_ended(self):
        """A request that has lost its lease, and whose session others have changed, is refused."""
        app = application(SESSION_LEASE=30)
        client, clock = app.test_client(), FakeClock(store_of(app), {})

        @app.route("/long")
        def long():
            session["counter"] = 7
            clock.advance(40)
            thread = threading.Thread(target=another(app, client).get, args=("/inc",))
            thread.start()
            thread.join(30)
            return "done"

        client.get("/")
        refused = client.get("/long")
        assert (refused.status_code, "done" in refused.text) == (503, False)
        assert client.get("/look").get_json() == {"counter": 1}

    def test_a_view_that_fails(self, app, client):
        """It frees the session, and what it has changed before is stored, as by Flask."""
        app.testing = False

        @app.route("/fail")
        def fail():
            session["counter"] = 5
            raise ZeroDivisionError

        client.get("/")
        assert client.get("/fail").status_code == 500
        assert client.get("/inc").text == "6"

    def test_a_response_that_fails(self, app, client):
        """What cannot be stored frees the session too."""
        app.testing = False

        @app.route("/object")
        def put():
            session["object"] = object()
            return ""

        client.get("/")
        assert client.get("/object").status_code == 500
        assert client.get("/inc").text == "1"

    def test_streaming(self, app, client):
        """A response that is streamed has given the session back before its first line."""

        @app.route("/stream")
        def stream():
            number = session["counter"]

            @stream_with_context
            def lines():
                yield str(number)
                yield another(app, client).get("/inc").text

            return Response(lines())

        client.get("/")
        assert client.get("/stream").text == "01"

    def test_store_down(self, app, client, monkeypatch):
        """A store that does not respond is 503, when the session is read and when it is stored."""
        client.get("/")
        store = store_of(app)
        down = lambda *_: (_ for _ in ()).throw(StoreUnavailable("down"))  # noqa: E731
        with monkeypatch.context() as patch:
            patch.setattr(store, "transact", down)
            assert client.get("/inc").status_code == 503
            assert client.get("/untouched").status_code == 503
        assert client.get("/inc").text == "1"

    def test_reads_without_a_lease(self):
        """With SESSION_LOCK = write, reading waits for nobody, and nothing is lost."""
        app = application(SESSION_LOCK="write", SESSION_WAIT="20ms")
        client = app.test_client()
        with busy(app, client):
            assert client.get("/look").get_json() == {"counter": 0}
            assert client.get("/inc").status_code == 503
        assert client.get("/inc").text == "8"


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
