"""What decorators and the template tag store is a cache; what the application stores is state."""

# ruff: noqa: F811  # the fixtures that are imported are arguments of the tests

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import pytest
from flask import Flask, render_template_string
from flask_caching.utils import make_template_fragment_key
from result_views import app, numbered_view, of_each_store  # noqa: F401  # fixtures

from sharedstate import Cache


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
