"""When sessions end, and whose they are."""

# ruff: noqa: F811  # the fixtures that are imported are arguments of the tests

from __future__ import annotations

from flask import session
from session_application import HOUR, another, app, application, client, cookie, store_of  # noqa: F401  # fixtures


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
        for each in clients:
            each.get("/login/ada")
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
