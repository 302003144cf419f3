"""Requests of one client that meet: who waits, who is refused, what is stored."""

# ruff: noqa: F811  # the fixtures that are imported are arguments of the tests

from __future__ import annotations

import threading
from contextlib import contextmanager

from backends import FakeClock
from flask import Response, session, stream_with_context
from session_application import another, app, application, client, store_of  # noqa: F401  # fixtures

from sharedstate import StoreUnavailable


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
