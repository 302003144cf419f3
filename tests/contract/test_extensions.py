"""Other extensions of Flask's on our stores: Flask-Limiter and Flask-Session."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import limits.aio.strategies
import limits.storage
import limits.strategies
import pytest
from backends import BACKENDS, ONE_OF_EACH_KIND, about
from flask import Flask, session
from flask_limiter import Limiter
from flask_session import Session
from limits import RateLimitItemPerMinute

import sharedstate.limits.storage
from sharedstate import Cache
from sharedstate.limits.storage import SharedStateStorage

ROOT = Path(__file__).parents[2]

pytestmark = ONE_OF_EACH_KIND

simple = pytest.mark.parametrize(
    "backend", [pytest.param(b, id=b.id) for b in BACKENDS if b.name == "simple"]
)


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
    monkeypatch.setattr(sharedstate.limits.storage.time, "time", lambda: now[0])
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
    assert limiter.hit(item, "you", cost=2)
    assert not limiter.hit(item, "you")


def test_a_sliding_window_weighs_the_one_before(app: Flask, now: list[float]) -> None:
    """Hits of the window before count for as much of it as the last window's length covers."""
    limiter = limits.strategies.SlidingWindowCounterRateLimiter(SharedStateStorage())
    item = RateLimitItemPerMinute(10)
    now[0] = 60 * 33_333_333
    assert [limiter.hit(item, "me") for _ in range(12)] == [True] * 10 + [False] * 2
    now[0] += 60 + 30  # Half of them count.
    assert limiter.get_window_stats(item, "me").remaining == 5
    assert not limiter.hit(item, "me", cost=6)
    assert limiter.hit(item, "me", cost=5)
    assert not limiter.hit(item, "me")
    assert limiter.hit(item, "you", cost=10)
    now[0] += 30  # Now those 5 are of the window before.
    assert limiter.get_window_stats(item, "me").remaining == 5
    now[0] += 59
    assert limiter.hit(item, "me", cost=5)
    now[0] += 61  # None in the window before, and those have not ended.
    assert limiter.get_window_stats(item, "me").remaining == 10
    limiter.hit(item, "me", cost=10)
    limiter.clear(item, "me")
    assert limiter.hit(item, "me", cost=10)


@pytest.mark.parametrize(
    "strategy",
    [
        limits.strategies.FixedWindowRateLimiter,
        limits.strategies.MovingWindowRateLimiter,
        limits.strategies.SlidingWindowCounterRateLimiter,
    ],
)
def test_of_many_at_once_exactly_the_limit_passes(app: Flask, now: list[float], strategy) -> None:
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


@pytest.mark.parametrize("strategy", ["fixed-window", "moving-window", "sliding-window-counter"])
def test_so_it_is_for_coroutines(app: Flask, now: list[float], strategy: str) -> None:
    """Of 24 at once as many pass as the limit says; what is left and cleared is right too."""
    storage = limits.storage.storage_from_string("async+sharedstate://")
    limiter = limits.aio.strategies.STRATEGIES[strategy](storage)
    item = RateLimitItemPerMinute(5)

    async def hits() -> None:
        passed = await asyncio.gather(*(limiter.hit(item, "me") for _ in range(24)))
        assert sum(passed) == 5
        window = await limiter.get_window_stats(item, "me")
        assert window.remaining == 0
        assert now[0] <= window.reset_time or strategy == "fixed-window"
        assert await limiter.hit(item, "you", cost=5)
        await limiter.clear(item, "me")
        assert await limiter.hit(item, "me")
        assert await storage.check()
        can_list = "keys" in app.extensions["sharedstate"].state.store.can
        assert await storage.reset() == (2 if can_list else None)
        assert (await limiter.get_window_stats(item, "me")).remaining == 5

    asyncio.run(hits())
    assert SharedStateStorage().storage == storage.storage


def test_all_hits_end_with_their_windows(app: Flask) -> None:
    """No strategy leaves a record that stays, and ``reset`` says how many there were."""
    storage, item = SharedStateStorage(), RateLimitItemPerMinute(3)
    for strategy in limits.strategies.STRATEGIES.values():
        assert strategy(storage).hit(item, "me")
        assert strategy(storage).hit(item, "me")
    state = app.extensions["sharedstate"].state
    key = item.key_for("me")
    hits = state.namespace("limits")
    ends = [hits.ttl(name) for name in (key, f"moving {key}", f"sliding {key}")]
    assert ends == [about(60), about(60), about(120)]
    assert storage.reset() == (3 if "keys" in state.store.can else None)
    assert strategy(storage).get_window_stats(item, "me").remaining == 3
    assert [hits.get(name) for name in (key, f"moving {key}", f"sliding {key}")] == [None] * 3


@pytest.mark.slow
@simple
def test_a_moving_window_with_many_hits_stays_small(app: Flask, now: list[float]) -> None:
    """However many there are, and never do more than the limit pass in any window."""
    storage = SharedStateStorage()
    assert storage.acquire_entry("at once", 1_000_000, 60, amount=200_000)
    passed = []
    # For 50 seconds, then none for 9, then faster for 11.
    for step in [0.05] * 1000 + [9] + [0.02] * 550:
        now[0] += step
        if storage.acquire_entry("k", 1000, 60):
            passed.append(now[0])
    assert all(after - before > 60 for before, after in zip(passed, passed[1000:], strict=False))
    assert len(passed) > 1000 + 0.95 * 10 / 0.05
    assert storage.get_moving_window("k", 1000, 60) == (about(now[0] - 60), about(1000))
    [raw, _] = app.extensions["sharedstate"].state.store.values(
        [b"\0limits:" + b"test:moving k", b"\0limits:" + b"test:moving at once"]
    )
    assert len(raw) < 400 * 30


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


@pytest.mark.slow
def test_flask_limiter_finds_the_storage_that_is_an_argument() -> None:
    """As ``storage_uri``, before the application has its cache or after that."""
    script = """if True:
        from sharedstate import Cache
        from flask import Flask
        from flask_limiter import Limiter
        for first in (Cache, lambda app: None):
            app = Flask("a")
            app.config["CACHE_TYPE"] = "simple"
            first(app)
            limiter = Limiter(lambda: "me", app=app, storage_uri="sharedstate://")
            Cache(app)
            with app.app_context():
                assert limiter.storage.check() and limiter.storage.incr("k", 60) == 1
    """
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True)


def test_flask_limiter_shows_where_the_hits_are(tmp_path: Path) -> None:
    """``flask limiter config`` prints the attribute ``storage`` of a storage."""
    app = Flask(__name__)
    app.config.update(CACHE_TYPE="filesystem", CACHE_DIR=tmp_path)
    Cache(app)
    limiter = Limiter(lambda: "me", app=app, storage_uri="sharedstate://")
    with app.app_context():
        assert str(limiter.storage.storage).startswith(f"filesystem at {tmp_path}")


@pytest.mark.slow
def test_nobody_else_needs_limits() -> None:
    """An application without rate limits works where the package is not installed, or is old."""
    script = (
        "import sys; sys.modules['limits'] = None; from flask import Flask;"
        "from sharedstate import Cache; Cache(Flask('a'), config={'CACHE_TYPE': 'simple'})"
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
