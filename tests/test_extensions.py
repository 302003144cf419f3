"""Other extensions of Flask's on our stores: Flask-Limiter and Flask-Session."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import limits.strategies
import pytest
from flask import Flask, session
from flask_limiter import Limiter
from flask_session import Session
from limits import RateLimitItemPerMinute

import sharedstate.limits
from sharedstate import Cache
from sharedstate.limits import SharedStateStorage

ROOT = Path(__file__).parent.parent


@pytest.fixture
def app(cache_settings: dict[str, str], backend) -> Iterator[Flask]:
    """An application on each store."""
    app = Flask(__name__)
    app.config.update(cache_settings, CACHE_KEY_PREFIX=backend.prefix)
    cache = Cache(app)
    with app.app_context():
        yield app
        cache.state.close()


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time that moving windows see."""
    now = [2_000_000_000.0]
    monkeypatch.setattr(sharedstate.limits.time, "time", lambda: now[0])
    return now


def test_a_fixed_window_lets_as_many_through_as_it_says(app: Flask) -> None:
    """Of ten hits the first three pass, the window says what is left, and it can be cleared."""
    limiter = limits.strategies.FixedWindowRateLimiter(SharedStateStorage())
    item = RateLimitItemPerMinute(3)
    assert [limiter.hit(item, "me") for _ in range(10)] == [True] * 3 + [False] * 7
    assert limiter.hit(item, "you")
    assert limiter.get_window_stats(item, "me").remaining == 0
    limiter.clear(item, "me")
    assert limiter.hit(item, "me")


def test_a_moving_window_moves(app: Flask, now: list[float]) -> None:
    """A hit passes again as soon as the oldest one is out of the window."""
    limiter = limits.strategies.MovingWindowRateLimiter(SharedStateStorage())
    item = RateLimitItemPerMinute(2)
    assert limiter.hit(item, "me")
    now[0] += 40
    assert limiter.hit(item, "me")
    assert not limiter.hit(item, "me")
    assert limiter.get_window_stats(item, "me").remaining == 0
    now[0] += 21
    assert limiter.hit(item, "me")
    assert not limiter.hit(item, "me", cost=2)


@pytest.mark.parametrize(
    "strategy",
    [limits.strategies.FixedWindowRateLimiter, limits.strategies.MovingWindowRateLimiter],
)
def test_of_many_at_once_exactly_the_limit_passes(app: Flask, strategy) -> None:
    """Eight threads that hit together are let through as often as the limit says, no more."""
    limiter, item = strategy(SharedStateStorage()), RateLimitItemPerMinute(20)
    gate = threading.Barrier(8)

    def hit() -> int:
        with app.app_context():
            gate.wait()
            return sum(limiter.hit(item, "me") for _ in range(10))

    with ThreadPoolExecutor(8) as threads:
        passed = [done.result() for done in [threads.submit(hit) for _ in range(8)]]
    assert sum(passed) == 20


def test_flask_limiter_finds_the_storage(tmp_path: Path) -> None:
    """``RATELIMIT_STORAGE_URI = "sharedstate://"`` is all that an application sets."""
    app = Flask(__name__)
    app.config.update(CACHE_TYPE="filesystem", CACHE_DIR=tmp_path)
    app.config["RATELIMIT_STORAGE_URI"] = "sharedstate://"
    Cache(app)
    limiter = Limiter(lambda: "me", app=app, default_limits=["2 per minute"])
    app.get("/")(lambda: "ok")
    codes = [app.test_client().get("/").status_code for _ in range(4)]
    assert codes == [200, 200, 429, 429]
    assert isinstance(limiter.storage, SharedStateStorage)


def test_nobody_else_imports_limits() -> None:
    """An application without rate limits does not need the package."""
    script = (
        "import sys; from flask import Flask; from sharedstate import Cache;"
        "Cache(Flask('a'), config={'CACHE_TYPE': 'simple'}); assert 'limits' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True)


def test_sessions_live_in_the_store(app: Flask) -> None:
    """Flask-Session keeps each client's session in our store, apart from the other's."""
    state = app.extensions["sharedstate"].state
    app.config.update(SESSION_TYPE="cachelib", SESSION_CACHELIB=state.namespace("session"))
    Session(app)

    @app.post("/")
    def visit() -> dict[str, int]:
        session["visits"] = session.get("visits", 0) + 1
        return {"visits": session["visits"]}

    @app.delete("/")
    def leave() -> str:
        session.clear()
        return ""

    one, two = app.test_client(), app.test_client()
    assert [one.post("/").get_json()["visits"] for _ in range(3)] == [1, 2, 3]
    assert two.post("/").get_json()["visits"] == 1
    one.delete("/")
    assert one.post("/").get_json()["visits"] == 1
    assert two.post("/").get_json()["visits"] == 2
    if "keys" in state.store.can:
        assert state.keys() == []
        assert len(state.namespace("session").keys()) == 2
