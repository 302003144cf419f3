"""What decorators and the template tag store is a cache; what the application stores is state."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, render_template_string, request
from flask_caching.utils import make_template_fragment_key

from sharedstate import Cache, State, StoreFull, ValueTooLarge
from sharedstate.stores.operations import NEVER

FULL = 4 << 20
PAGE = "x" * 50_000


@pytest.fixture
def app(tmp_path: Path) -> Flask:
    return Flask(__name__, instance_path=str(tmp_path))


@pytest.fixture
def of_each_store(app: Flask, cache_settings: dict[str, str], backend) -> Iterator[Cache]:
    """The application's cache, on each store, inside the application's context."""
    app.config.update(cache_settings, CACHE_KEY_PREFIX=backend.prefix)
    cache = Cache(app)
    with app.app_context():
        yield cache
        cache.state.close()


def numbered_view(app: Flask, cache: Cache, **options: Any) -> Callable[[str], str]:
    """A view whose answer tells how often it was called; returns what gets a URL of it."""
    numbers = count(1)

    @app.get("/works")
    @cache.cached(**options)
    def works() -> str:
        return str(next(numbers))

    return lambda url="/works": app.test_client().get(url).text


def test_results_expire_and_state_stays(app: Flask) -> None:
    """A result has Flask-Caching's 300 seconds, whatever is set by hand has no end."""
    cache = Cache(app, config={"CACHE_TYPE": "simple"})
    get = numbered_view(app, cache)
    memoized = cache.memoize()(lambda: get)
    cache.state.store.clock = lambda: 1_000.0
    cache.set("a", 1)
    with app.app_context():
        assert (get(), get(), memoized()) == ("1", "1", get)
        render_template_string("{% cache None, 'fragment' %}b{% endcache %}")
    assert {item.ttl for item in cache.cache.results.items()[0]} == {300, 0}
    cache.state.store.clock = lambda: 1_301.0
    assert get() == "2"
    assert cache.get("a") == 1


@pytest.mark.parametrize(("seconds", "ttl"), [(60, 60), (0, 0), ("90", 90)])
def test_a_default_timeout_is_that_of_results_too(app: Flask, seconds: Any, ttl: float) -> None:
    """``CACHE_DEFAULT_TIMEOUT`` holds for results and for state where it is set."""
    cache = Cache(app, config={"CACHE_TYPE": "simple", "CACHE_DEFAULT_TIMEOUT": seconds})
    cache.state.store.clock = lambda: 1_000.0
    numbered_view(app, cache)()
    cache.set("a", 1)
    assert cache.ttl("a") == ttl
    assert [item.ttl for item in cache.cache.results.items()[0]] == [ttl]


def test_results_are_found_by_their_keys(of_each_store: Cache, app: Flask) -> None:
    """Applications look into the cache, and delete from it, by the keys that Flask-Caching has."""
    cache = of_each_store
    get = numbered_view(app, cache)
    assert (get(), get()) == ("1", "1")
    assert cache.get("view//works") == "1"
    assert cache.has("view//works")
    assert cache.get_many("view//works", "none", default=0) == ["1", 0]
    assert cache.get_dict("view//works") == {"view//works": "1"}
    assert cache.delete("view//works")
    assert not cache.delete("view//works")
    assert get() == "2"
    assert cache.delete_many("view//works", "none") == ["view//works", "none"]
    assert get() == "3"
    assert cache.clear()
    assert get() == "4"
    cache.set("state", 1)
    if "keys" in cache.state.store.can:
        assert cache.keys() == [item.key for item in cache.items()[0]] == ["state"]
        assert cache.delete_prefix("view/") == 1
        assert cache.delete_prefix("s") == 1
        assert get() == "5"


def test_what_is_set_by_hand_goes_before_a_result(of_each_store: Cache, app: Flask) -> None:
    """The last one to write under a key is seen, the decorator or the application."""
    cache, is_forced = of_each_store, False
    get = numbered_view(app, cache, forced_update=lambda: is_forced)
    assert get() == "1"
    cache.set("view//works", "by hand")
    assert get() == "by hand"
    is_forced = True
    assert get() == "2"
    is_forced = False
    assert (get(), cache.get("view//works")) == ("2", "2")


def test_a_key_that_is_chosen_later_is_that_of_a_result(app: Flask) -> None:
    """What a view stores is a result, also if its ``make_cache_key`` is replaced."""
    cache = Cache(app, config={"CACHE_TYPE": "simple"})

    @cache.cached()
    def view() -> str:
        return "seen"

    view.make_cache_key = lambda *args, **kwargs: "chosen" * 100
    with app.test_request_context():
        assert view() == "seen"
    assert cache.state.keys() == []
    assert len(cache.cache.results.keys()) == 1


@pytest.mark.slow
@pytest.mark.parametrize("name", ["simple", "filesystem", "lmdb"])
def test_visitors_cannot_fill_the_store(app: Flask, name: str) -> None:
    """Results that fill a store make room, the oldest first, for others and for all state."""
    cache = Cache(app, config={"CACHE_TYPE": name, "CACHE_MAX_BYTES": FULL})

    @app.get("/")
    @cache.cached(query_string=True)
    def view() -> str:
        calls.append(request.args["q"])
        return PAGE

    client, calls = app.test_client(), []
    cache.set("kept", b"k" * 100_000)
    cache.set("kept for an hour", 1, timeout=3600)
    for number in range(200):
        assert client.get(f"/?q={number}").text == PAGE
    calls.clear()
    client.get("/?q=199"), client.get("/?q=0")
    assert calls == ["0"]

    for number in range(20):
        cache.set(f"large {number}", b"l" * 100_000)
    cache.inc("count", once="token")
    cache.update("list", lambda found: [*found, PAGE], default=[])
    cache.set_many({f"many {number}": b"m" * 100_000 for number in range(5)})
    batch = cache.batch()
    batch.set("of a batch", b"b" * 100_000)
    batch.apply()
    with cache.lock("lock"):
        pass
    assert len(cache.keys()) == 30
    assert cache.get("kept") == b"k" * 100_000

    with pytest.raises(StoreFull):
        for number in range(100):
            cache.set(f"more {number}", b"l" * 100_000)
    assert client.get("/?q=1").text == PAGE
    cache.state.close()


def test_a_full_redis_makes_room(app: Flask, redis_url: str) -> None:
    """The same holds on a Redis without eviction of its own, whose state is beside the results."""
    cache = Cache(app, config={"CACHE_TYPE": "redis", "CACHE_REDIS_URL": redis_url})
    cache.clear()
    client, results = cache.cache._write_client, cache.cache.results
    before = client.config_get("maxmemory")["maxmemory"]
    cache.set("kept", 1, timeout=10)
    client.config_set("maxmemory", client.info("memory")["used_memory"] + FULL)
    try:
        for number in range(200):
            assert results.set(str(number), PAGE)
        assert (results.get("199"), results.get("0")) == (PAGE, None)
        for number in range(30):
            cache.set(f"large {number}", PAGE)
        assert len(cache.keys()) == 31
        with pytest.raises(StoreFull):
            for number in range(200):
                cache.set(f"more {number}", PAGE)
        assert results.keys() == []
        assert cache.get("kept") == 1
    finally:
        client.config_set("maxmemory", before)
        cache.clear()
        cache.state.close()


def test_when_keys_expire_is_read_without_their_values(state: State, clock) -> None:
    """Each store tells when records expire, which decides what is removed first."""
    state.set("a", 1, timeout=60)
    state.set("b", 1)
    state.set("c", 1, timeout=1)
    clock.advance(2)
    keys = [state.physical_prefix + name for name in (b"a", b"none", b"b", b"c")]
    first, *others = state.store.expiries(keys)
    assert first == pytest.approx(state.store.clock() + 58, abs=5)
    assert others == [None, NEVER, None]


WRITES = {
    "set": lambda state, n: state.set(f"k{n}", n),
    "add": lambda state, n: state.add(f"k{n}", n),
    "inc": lambda state, n: state.inc(f"k{n}"),
    "once": lambda state, n: state.inc("k", once=f"t{n}"),
    "update": lambda state, n: state.update(f"k{n}", lambda found: n),
    "set_many": lambda state, n: state.set_many({f"k{n}": n, f"l{n}": n}),
    "inc_many": lambda state, n: state.inc_many({f"k{n}": n, f"l{n}": n}),
    "namespace": lambda state, n: state.namespace("session").set(f"k{n}", n),
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_each_write_finds_room(app: Flask, write: Callable[[Any, int], Any]) -> None:
    """Whatever changes state goes on in a store that is full of results, until none is left."""
    cache = Cache(app, config={"CACHE_TYPE": "simple", "CACHE_MAX_BYTES": 100_000})
    results = cache.cache.results
    for number in range(20):
        results.set(str(number), "x" * 5_000)
    writes = count()
    with pytest.raises(StoreFull):
        for number in writes:
            write(cache.state, number)
    assert results.keys() == []
    assert next(writes) > 100


def test_a_threshold_bounds_results_only(app: Flask) -> None:
    """``CACHE_THRESHOLD`` is how many results there may be; the oldest go, and state stays."""
    cache = Cache(app, config={"CACHE_TYPE": "filesystem", "CACHE_THRESHOLD": 10})
    cache.set_many({str(number): number for number in range(50)})
    clock = count(1_000)
    cache.state.store.clock = lambda: next(clock)

    @cache.memoize()
    def double(number: int) -> int:
        calls.append(number)
        return 2 * number

    calls: list[int] = []
    with app.app_context():
        assert [double(number) for number in range(30)] == [2 * number for number in range(30)]
        assert len(cache.cache.results.keys()) <= 10
        calls.clear()
        assert (double(29), double(0)) == (58, 0)
    assert calls == [0]
    assert len(cache.keys()) == 50
    cache.state.close()


def test_a_threshold_costs_no_look_at_each_write(app: Flask, monkeypatch) -> None:
    """Whether there are too many is looked at once in an eighth of the threshold."""
    cache = Cache(app, config={"CACHE_TYPE": "simple", "CACHE_THRESHOLD": 80})
    page, looks = cache.state.store.page, []
    monkeypatch.setattr(cache.state.store, "page", lambda *args: looks.append(1) or page(*args))
    for number in range(200):
        cache.cache.results.set(str(number), number)
        assert cache.state.store.measure()["entries"] <= 90
    assert len(looks) <= 20


@pytest.mark.parametrize("debug", [True, False])
def test_a_result_that_is_too_large_is_said_once(
    app: Flask, caplog: pytest.LogCaptureFixture, debug: bool
) -> None:
    """The view answers, the log has one line, and no older result is served instead."""
    app.debug = debug
    cache = Cache(app, config={"CACHE_TYPE": "simple", "CACHE_MAX_VALUE_BYTES": 1_000})
    texts = iter(["small", "x" * 2_000, "y" * 2_000, "z" * 2_000])

    @app.get("/")
    @cache.cached(forced_update=lambda: "new" in request.args)
    def view() -> str:
        return next(texts)

    client = app.test_client()
    with caplog.at_level(logging.WARNING):
        assert client.get("/").text == "small"
        assert client.get("/?new").text == "x" * 2_000
        assert client.get("/").text == "y" * 2_000
        with app.test_request_context():
            large = render_template_string("{% cache 60, 'n' %}{{ 'z' * 2000 }}{% endcache %}")
        assert large == "z" * 2_000
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "CACHE_MAX_VALUE_BYTES" in caplog.text
    with pytest.raises(ValueTooLarge):
        cache.set("a", "x" * 2_000)


def test_fragments_are_results(app: Flask) -> None:
    """What the template tag stores is a result, found and deleted by Flask-Caching's key."""
    cache = Cache(app, config={"CACHE_TYPE": "simple"})
    template = "{% cache 60, 'name' %}{{ number }}{% endcache %}"
    with app.test_request_context():
        assert render_template_string(template, number=1) == "1"
        assert render_template_string(template, number=2) == "1"
        assert cache.keys() == []
        assert cache.get(make_template_fragment_key("name")) == "1"
        assert cache.delete(make_template_fragment_key("name"))
        assert render_template_string(template, number=3) == "3"


class Stale:
    """A decorated function whose results are fresh for 100 seconds, and kept for 50 more."""

    def __init__(self, cache: Cache, app: Flask, kind: str) -> None:
        self.numbers = count(1)
        self.meanwhile: list[Callable[[], object]] = []
        options = {"timeout": 100, "stale": 50}
        if kind == "memoize":
            self.decorated = cache.memoize(**options)(lambda number: self.make())
        else:
            self.decorated = cache.cached(key_prefix="a", **options)(lambda number: self.make())

    def make(self) -> int:
        number = next(self.numbers)
        while self.meanwhile:
            self.meanwhile.pop()()
        return number

    def get(self) -> int:
        return self.decorated(5)


@pytest.mark.on("simple", "filesystem", "redis", "memcached")
@pytest.mark.parametrize("kind", ["cached", "memoize"])
class TestStale:
    @pytest.fixture
    def stale(self, of_each_store: Cache, app: Flask, kind: str) -> Iterator[Stale]:
        with app.test_request_context("/"):
            yield Stale(of_each_store, app, kind)

    @pytest.fixture
    def advance(self, of_each_store: Cache, backend, cache_settings) -> Callable[[float], None]:
        return backend.clock(of_each_store.state.store, cache_settings).advance

    def test_one_computes(self, stale: Stale, advance: Callable[[float], None]) -> None:
        """The others get the old result meanwhile, and the new one has its whole time."""
        assert (stale.get(), stale.get()) == (1, 1)
        advance(90)
        assert stale.get() == 1
        advance(20)
        seen: list[int] = []
        stale.meanwhile = [lambda: seen.append(stale.get())] * 2
        assert (stale.get(), seen) == (2, [1, 1])
        advance(90)
        assert stale.get() == 2
        advance(20)
        assert stale.get() == 3

    def test_raises(self, stale: Stale, advance: Callable[[float], None]) -> None:
        """The old result stays, and another caller computes it half a minute later."""
        stale.get()
        advance(105)
        stale.meanwhile = [lambda: 1 / 0]
        with pytest.raises(ZeroDivisionError):
            stale.get()
        assert stale.get() == 1
        advance(31)
        assert stale.get() == 3

    def test_expires(self, stale: Stale, advance: Callable[[float], None]) -> None:
        """An old result is gone in the end."""
        stale.get()
        advance(160)
        assert stale.get() == 2

    def test_wrong(self, of_each_store: Cache, stale: Stale, kind: str) -> None:
        """It needs a timeout, and that None is no result."""
        decorator = getattr(of_each_store, kind)
        for options in ({}, {"timeout": 5, "cache_none": True}, {"timeout": 5, "stale": "1"}):
            with pytest.raises(TypeError):
                decorator(**{"stale": 50, **options})
