"""Rate limits: how many hits pass, when the next one does, and what a response says of it."""

from datetime import timedelta
from functools import partial

import crowd
import pytest
from backends import BACKENDS, CROWDS, ONE_OF_EACH_KIND, FakeClock
from flask import Flask, jsonify
from get_then_set import chances

from sharedstate import Cache, InvalidKey, State
from sharedstate.keyspace.arguments import MAX_TIMEOUT
from sharedstate.limits import Limits
from sharedstate.limits.gcra import Rate


class Limiter(Limits):
    """As a cache: it has a state."""

    def __init__(self, state):
        self.state = state


@pytest.fixture
def now(store):
    """The time of the limits, and on an embedded store of the records."""
    return FakeClock(store, {})


@pytest.fixture
def limit(state, now):
    return Limiter(state).limit


@ONE_OF_EACH_KIND
class TestLimit:
    def test_as_many_as_it_says(self, limit):
        """So many pass at once, whoever else hits, and each says what is left."""
        allowances = [limit("me", 3, per=60) for _ in range(5)]
        assert [bool(allowance) for allowance in allowances] == [True] * 3 + [False] * 2
        assert [allowance.remaining for allowance in allowances] == [2, 1, 0, 0, 0]
        assert [allowance.retry_after for allowance in allowances] == [0, 0, 0, 20, 20]
        assert [allowance.reset for allowance in allowances] == [20, 40, 60, 60, 60]
        assert limit("you", 3, per=60)

    def test_each_comes_back_by_itself(self, limit, now):
        """A hit is given back after its part of the time, to the microsecond."""
        for _ in range(3):
            assert limit("me", 3, per=60)
        now.advance(19.999)
        refused = limit("me", 3, per=60)
        assert not refused and refused.retry_after == pytest.approx(0.001, abs=1e-6)
        now.advance(0.001001)
        assert limit("me", 3, per=60)
        assert not limit("me", 3, per=60)

    def test_a_pause_gives_no_more_than_the_limit(self, limit, now):
        """After any pause, while the record is still there and after it, the limit is the same."""
        for pause in (60, 60.5, 3600):
            assert sum(bool(limit("me", 4, per=60)) for _ in range(9)) == 4
            now.advance(pause)
        assert limit("one", 4, per=60)
        now.advance(50)  # It came back long ago, and its record is still there.
        assert sum(bool(limit("one", 4, per=60)) for _ in range(9)) == 4

    def test_in_the_long_run(self, limit, now):
        """However the hits fall, in each window pass at most the limit and what has come back."""
        passed = 0
        for _ in range(140):  # For 70 seconds.
            passed += bool(limit("me", 7, per=10))
            now.advance(0.5)
        assert passed == 7 + 7 * 7 - 1  # The last one has not come back at 69.5 seconds.

    def test_cost(self, limit):
        """A hit may count as several; one that does not fit counts for nothing."""
        assert limit("me", 10, per=60, cost=8).remaining == 2
        refused = limit("me", 10, per=60, cost=3)
        assert (refused.allowed, refused.remaining, refused.retry_after) == (False, 2, 6)
        assert limit("me", 10, per=60, cost=2)

    def test_a_clock_that_is_behind(self, limit, now):
        """A host whose clock is behind lets nothing more through."""
        for _ in range(3):
            assert limit("me", 3, per=60)
        now.advance(-30)
        refused = limit("me", 3, per=60)
        assert (refused.allowed, refused.remaining, refused.retry_after) == (False, 0, 50)

    def test_records_end(self, limit, state):
        """The record is apart from all keys, and ends when all has come back."""
        limit("me", 3, per=60)
        hits = state.namespace("limit")
        # A server's own time goes on meanwhile.
        assert (45 if state.store.name == "redis" else 60) <= hits.ttl("me") <= 61.001
        if "keys" in state.store.can:
            assert (state.keys(), hits.keys()) == ([], ["me"])


@pytest.mark.on("simple")
class TestArguments:
    @pytest.mark.parametrize(
        "limit, per", [(0, 60), (-1, 60), (5, 0), (5, -1), (2_000_001, 2), (5, float("nan"))]
    )
    def test_bounds_of_a_rate(self, limit, per):
        """A limit that cannot be held is refused."""
        with pytest.raises(ValueError):
            Rate(limit, per)

    @pytest.mark.parametrize("cost", [0, -1, 6])
    def test_bounds_of_a_cost(self, limit, cost):
        """A hit that gives, or can never pass, is refused, by the decorator at once."""
        with pytest.raises(ValueError, match="costs 1 to 5"):
            limit("me", 5, per=60, cost=cost)
        with pytest.raises(ValueError, match="costs 1 to 5"):
            limit(5, per=60, cost=cost)

    def test_what_is_no_limit(self, limit):
        """Arguments of other kinds are errors."""
        for arguments in (("me",), ("me", "5"), ("me", 2.5), ("me", True)):
            with pytest.raises(TypeError):
                limit(*arguments, per=60)
        with pytest.raises(TypeError):
            limit("me", 5, per="60")
        with pytest.raises(InvalidKey):
            limit("", 5, per=60)

    def test_a_hundred_years(self, limit):
        """The longest time is one that a record may have."""
        assert [bool(limit("me", 2, per=MAX_TIMEOUT)) for _ in range(3)] == [True, True, False]

    def test_fractions(self, limit):
        """Any rate up to a million a second holds to the hit."""
        for name, number, per in (("a", 7, timedelta(seconds=1)), ("b", 999, 0.5), ("c", 3, 1e-3)):
            assert sum(bool(limit(name, number, per=per)) for _ in range(number + 5)) == number


@pytest.fixture
def app():
    app = Flask(__name__)
    cache = Cache(app, config={"CACHE_TYPE": "simple"})
    app.clock = FakeClock(cache.state.store, {})
    app.cache = cache
    return app


class TestDecorator:
    def test_a_client_beyond_the_limit(self, app):
        """It gets 429 and is told when to come again; another address is not limited by it."""
        app.get("/")(app.cache.limit(2, per=60)(lambda: "ok"))
        client = app.test_client()
        responses = [client.get("/") for _ in range(3)]
        assert [response.status_code for response in responses] == [200, 200, 429]
        assert [response.headers["RateLimit"] for response in responses] == [
            '"default";r=1;t=30',
            '"default";r=0;t=60',
            '"default";r=0;t=60',
        ]
        assert responses[0].headers["RateLimit-Policy"] == '"default";q=2;w=60'
        assert "Retry-After" not in responses[0].headers
        assert responses[2].headers["Retry-After"] == "30"
        assert client.get("/", environ_base={"REMOTE_ADDR": "10.0.0.1"}).status_code == 200
        app.clock.advance(30)
        assert client.get("/").status_code == 200

    def test_views_are_apart(self, app):
        """Each view has a limit of its own, whatever its clients are called."""
        limited = app.cache.limit(1, per=60, key=lambda: "ä\n" * 200)

        @app.get("/one")
        @limited
        def one():
            return "one"

        @app.get("/two")
        @limited
        def two():
            return "two"

        client = app.test_client()
        codes = [client.get(path).status_code for path in ("/one", "/two", "/one", "/two")]
        assert codes == [200, 200, 429, 429]
        assert one.__name__ == "one"

    def test_no_key(self, app):
        """A request without a key is not limited."""
        app.get("/")(app.cache.limit(1, per=60, key=lambda: None)(lambda: "ok"))
        responses = [app.test_client().get("/") for _ in range(3)]
        assert [response.status_code for response in responses] == [200] * 3
        assert "RateLimit" not in responses[0].headers

    def test_its_own_way_to_refuse(self, app):
        """What an application responds to 429 with has the headers too."""
        app.errorhandler(429)(lambda error: (jsonify(error=error.description), 429))
        app.get("/")(app.cache.limit(1, per=60)(lambda: "ok"))
        _, refused = app.test_client().get("/"), app.test_client().get("/")
        assert refused.get_json()["error"].startswith("At most 1 requests are allowed in 60 sec")
        assert refused.headers["Retry-After"] == "60"

    def test_before_there_is_an_application(self):
        """The decorator can be used at module level, for several applications."""
        cache = Cache()
        view = cache.limit(1, per=60)(lambda: "ok")
        for name in ("a", "b"):
            app = Flask(name)
            cache.init_app(app, config={"CACHE_TYPE": "simple"})
            app.get("/")(view)
            codes = [app.test_client().get("/").status_code for _ in range(2)]
            assert codes == [200, 429]


# The race: of many hits at once as many pass as the limit says, and not one more.


def hit(state, me, times):
    limit = Limiter(state).limit
    for _ in range(times):
        yield partial(limit, "race", 20, per=3600)


def look_then_count(state, me, times):
    """The negative control."""
    for _ in range(times):
        yield partial(_count_unguarded, state)


def _count_unguarded(state):
    hits = state.get("hits", 0)
    if hits >= 20:
        return False
    state.set("hits", hits + 1)
    return True


def nothing(state):
    """There is nothing to look at when the race is over."""


def passed(outcome):
    return sum(bool(call.result) for call in outcome.answers)


@pytest.mark.slow
@pytest.mark.parametrize("backend, kind", CROWDS)
def test_race(backend, kind, race_settings):
    """Of 64 hits of eight that begin together, 20 pass, on every store."""
    open_state = partial(State.from_settings, race_settings)
    outcome = crowd.run(kind, open_state, partial(hit, times=8), 8, nothing)
    assert passed(outcome) == 20


@pytest.mark.slow
@pytest.mark.parametrize("backend", [b for b in BACKENDS if b.id == "filesystem"], ids=["files"])
def test_race_control(backend, cache_settings):
    """To look at a number and count it after that lets more through."""
    work = partial(look_then_count, times=20)
    outcomes = (crowd.run("forked", each, work, 5, nothing) for each in chances(cache_settings))
    assert any(passed(outcome) > 20 for outcome in outcomes)
