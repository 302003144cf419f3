"""Cached results make room for each other, and never take that of the state."""

# ruff: noqa: F811  # the fixtures that are imported are arguments of the tests

from __future__ import annotations

import logging
from collections.abc import Callable
from itertools import count
from typing import Any

import pytest
from flask import Flask, render_template_string, request
from result_views import app  # noqa: F401  # fixtures

from sharedstate import Cache, State, StoreFull, ValueTooLarge
from sharedstate.stores.operations import NEVER

FULL = 4 << 20
PAGE = "x" * 50_000


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
    """The view responds, the log has one line, and no older result is served instead."""
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
