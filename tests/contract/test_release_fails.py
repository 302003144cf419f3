"""What was done stays done where the store fails when a lock is given back afterwards."""

import threading

import pytest
from flask import Flask, session

from sharedstate import Cache, StoreUnavailable, shared
from sharedstate.session import Session


class SomeObj:
    def __init__(self):
        self.param = 0

    def query(self):
        self.param += 1
        return self.param


@pytest.fixture
def app():
    return Flask(__name__)


@pytest.fixture
def cache(app):
    cache = Cache(app, config={"CACHE_TYPE": "simple"})
    with app.app_context():
        yield cache


@pytest.fixture
def failing(cache, monkeypatch):
    """Lets the store fail whenever a lock is given back; holds what was asked of it then."""
    store, asked = cache.state.store, []
    transact = store.transact

    def fail(keys, operation):
        # A lock is given back by a change that leaves nothing; its fence stays.
        if b"lock" in keys[0] and getattr(operation, "value", b"") is None:
            asked.append(keys)
            raise StoreUnavailable("gone")
        return transact(keys, operation)

    monkeypatch.setattr(store, "transact", fail)
    return asked


def test_object_that_was_locked(cache, failing):
    """What a block has made of an object is stored."""
    thing = cache.object("thing", SomeObj)
    with thing.locked() as copy:
        copy.query()
    assert failing and thing.param == 1


def test_step_that_waited(app, cache, failing):
    """A step that had to wait for a block returns its result."""
    thing = cache.object("thing", SomeObj)
    thing.query()
    cache.state.namespace("object").update("thing", lambda record: {**record, "locked": 7})
    assert thing.query() == 2  # One that died has left its mark.
    assert failing


def test_object_that_is_forgotten_while_others_wait(app, cache):
    """Who waits for a block in which the object is forgotten gets a new one."""
    thing = cache.object("thing", SomeObj)
    thing.query()
    looked, results = threading.Event(), []
    handle, lock = shared(thing), shared(thing)._lock

    def watched(*arguments):
        looked.set()
        return lock(*arguments)

    def wait():
        with app.app_context():
            results.append(thing.query())

    waiter = threading.Thread(target=wait)
    with pytest.raises(Exception, match="nothing was stored"), thing.locked():
        handle._lock = watched
        waiter.start()
        assert looked.wait(30)
        handle.reset()
    waiter.join(30)
    assert results == [1]


def test_job_that_was_done(cache, failing):
    """A job that was done returns its result."""

    @cache.once(every=0, name="job")
    def job():
        return "done"

    assert job() == "done"
    assert failing and job() is None


def test_session_that_was_stored(app, cache, request):
    """A session that was stored is no error, and counts on when its lease has ended."""
    Session(app)

    @app.get("/inc")
    def inc():
        session["n"] = session.get("n", 0) + 1
        return str(session["n"])

    client = app.test_client()
    assert client.get("/inc").text == "1"
    failing = request.getfixturevalue("failing")
    response = client.get("/inc")
    assert failing and (response.status_code, response.text) == (200, "2")
