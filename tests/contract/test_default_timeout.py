"""What the library keeps for itself does not end with ``CACHE_DEFAULT_TIMEOUT``."""

from flask import Flask, session

from sharedstate import Cache, State
from sharedstate.cli.transfer import copy
from sharedstate.session import Session
from sharedstate.stores.memory import MemoryStore
from sharedstate.testing import stop_clock

SETTINGS = {"CACHE_TYPE": "simple", "CACHE_DEFAULT_TIMEOUT": 300}


def test_job_runs_once_a_period_that_is_longer():
    """A job that is due once a day is done for the rest of the day."""
    app = Flask(__name__)
    cache = Cache(app, config=SETTINGS)
    clock = stop_clock(app)
    runs = []

    @cache.once(every=86400, name="job")
    def job():
        runs.append(clock.now)

    clock.now = 20_000 * 86400.0
    with app.app_context():
        for _ in range(4):
            job()
            clock.advance(301)
    assert len(runs) == 1


def test_sessions_of_a_user_can_be_revoked_as_long_as_they_last():
    """A session that is older than the default timeout is still listed, and revoked."""
    app = Flask(__name__)
    app.config.from_mapping(SETTINGS)
    sessions = Session(app)
    clock = stop_clock(app)

    @app.get("/login")
    def login():
        session.user = "ada"
        return ""

    @app.get("/user")
    def user():
        return session.user or "nobody"

    client = app.test_client()
    client.get("/login")
    clock.advance(301)
    assert client.get("/user").text == "ada"
    with app.app_context():
        assert len(sessions.of("ada")) == 1
        assert sessions.revoke("ada") == 1
    assert client.get("/user").text == "nobody"


def test_fence_that_was_copied_grows_on():
    """Locks of a store that was copied to have higher fences for ever."""
    source, target = State(MemoryStore()), State(MemoryStore(), default_timeout=300)
    now = [1_800_000_000.0]
    target.store.clock = lambda: now[0]
    with source.lock("key") as lock:
        before = lock.fence
    for _ in copy(source, target):
        pass
    now[0] += 301
    with target.lock("key") as lock:
        assert lock.fence > before
