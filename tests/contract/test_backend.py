"""What ``cache.cache`` is for applications that were written for cachelib's backends."""

from __future__ import annotations

import logging
import pickle
from collections.abc import Iterator
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from cachelib.serializers import JSONSerializer, SimpleSerializer
from flask import Flask

from sharedstate import Cache, State


@pytest.fixture
def app(tmp_path: Path) -> Flask:
    return Flask(__name__, instance_path=str(tmp_path))


@pytest.fixture
def cache(app: Flask, cache_settings: dict[str, str], backend) -> Iterator[Cache]:
    """The application's cache, on each store, inside the application's context."""
    cache = Cache(app, config={**cache_settings, "CACHE_KEY_PREFIX": backend.prefix})
    with app.app_context():
        yield cache
        cache.state.close()


def test_it_is_used_like_cachelibs(cache: Cache) -> None:
    """Missing keys count as deleted, and what there is no value for has the default."""
    backend = cache.cache
    assert backend.set("a", 1)
    assert backend.set_many({"b": 2, "c": None}) == ["b", "c"]
    assert backend.get_many("a", "none", "c", default=0) == [1, 0, None]
    assert cache.state.get_many("a", "none", default=0) == [1, 0]
    assert backend.get_many() == []
    assert backend.delete_many("a", "none") == ["a", "none"]
    assert not backend.has("a")
    assert backend.inc("n") == 1
    assert backend.ttl("n") == 0
    assert backend.key_prefix == cache.state.key_prefix


@pytest.mark.parametrize("timeout", [-1, -0.5, timedelta(seconds=-1)])
def test_a_negative_timeout_is_over_at_once(cache: Cache, timeout: Any) -> None:
    """What is set to expire in the past is not there, and what was there is gone."""
    cache.set_many({"a": 1, "b": 1})
    assert cache.set("a", 2, timeout=timeout)
    assert cache.set_many({"b": 2}, timeout=timeout) == ["b"]
    assert cache.add("c", 1, timeout=timeout)
    assert not any(map(cache.has, "abc"))
    cache.set("c", 1)
    assert not cache.add("c", 2, timeout=timeout)
    assert cache.get("c") == 1


def test_a_decorators_negative_timeout_keeps_nothing(app: Flask, cache: Cache) -> None:
    """A view that is cached until the past is called each time."""
    numbers = count(1)
    view = cache.cached(timeout=-1)(lambda: next(numbers))
    with app.test_request_context():
        assert (view(), view()) == (1, 2)


@pytest.mark.needs("keys")
def test_a_prefix_is_deleted(state: State, json_state: State) -> None:
    """All keys with the prefix go and are counted, more than a page of them, and no others."""
    state.set_many({f"a{number}": number for number in range(1_200)})
    state.set_many({"b": 1, "ab": 2})
    state.inc("a")
    json_state.set("a", 1)
    assert state.delete_prefix("a1") == 1 + 10 + 100 + 200
    assert state.delete_prefix("a") == 1_202 - 311
    assert state.delete_prefix("a") == 0
    assert state.keys() == ["b"]
    assert json_state.keys() == ["a"]


def test_a_pattern_is_deleted_with_redis_own_client(app: Flask, redis_url: str) -> None:
    """Code for cachelib's Redis backend finds state and cached results, and deletes them."""
    cache = Cache(app, config={"CACHE_TYPE": "RedisCache", "CACHE_REDIS_URL": redis_url})
    cache.clear()
    numbers = count(1)
    app.get("/works/<name>")(cache.cached()(lambda name: f"{name} {next(numbers)}"))
    memoized = cache.memoize()(lambda: next(numbers))
    get = app.test_client().get
    assert [get(f"/works/{name}").text for name in "ab"] == ["a 1", "b 2"]
    assert memoized() == 3
    cache.set("view//works/state", 1)
    cache.set("other", {"a": 1})

    backend = cache.cache
    client, prefix = backend._write_client, backend.key_prefix
    assert pickle.loads(backend._read_client.get(f"{prefix}other")[1:]) == {"a": 1}
    found = list(client.scan_iter(f"{prefix}view//works/*"))
    assert len(found) == 3
    client.delete(*found)
    assert get("/works/a").text == "a 4"
    assert memoized() == 3
    assert cache.keys() == ["other"]
    cache.clear()
    assert client.keys(f"{prefix}*") == []
    cache.state.close()


@pytest.mark.parametrize("name", ["simple", "filesystem", "lmdb"])
def test_a_store_without_a_client_says_so(
    app: Flask, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever asks for a client that is not there learns from the log what to call instead."""
    backend = Cache(app, config={"CACHE_TYPE": name}).cache
    with caplog.at_level(logging.WARNING):
        for attribute in ("_write_client", "_read_client", "_client", "_cache"):
            assert not hasattr(backend, attribute)
    assert caplog.text.count("delete_prefix") == 1
    with pytest.raises(AttributeError, match="_write_client"):
        backend._write_client  # noqa: B018


def test_the_serializer_is_read_and_replaced(cache: Cache) -> None:
    """The serializer reads what the backend writes, and another one takes its place."""
    backend = cache.cache
    assert isinstance(backend.serializer, SimpleSerializer)
    assert backend.serializer.loads(backend.serializer.dumps({"a": (1,)})) == {"a": (1,)}
    backend.serializer = replacement = JSONSerializer()
    assert backend.serializer is replacement
    cache.set("a", (1, 2))
    assert cache.get("a") == [1, 2]
    memoized = cache.memoize()(lambda: (1, 2))
    assert [memoized(), memoized()] == [(1, 2), [1, 2]]
    assert cache.inc("n") == 1


def test_options_of_cachelib_are_understood(app: Flask, redis_url: str) -> None:
    """``default_timeout`` and ``key_prefix`` are the store's, and no arguments of the driver."""
    app.config["CACHE_OPTIONS"] = {
        "default_timeout": 60,
        "key_prefix": "own:",
        "health_check_interval": 9,
    }
    cache = Cache(app, config={"CACHE_TYPE": "redis", "CACHE_REDIS_URL": redis_url})
    cache.set("a", 1)
    assert 50 < (cache.ttl("a") or 0) <= 60
    assert cache.cache._write_client.get("own:a") == b"1"
    cache.clear()
    cache.state.close()


def test_the_configuration_stays_as_it_was(app: Flask) -> None:
    """``init_app`` takes what it is given and leaves the application's configuration alone."""
    before, given = dict(app.config), {"CACHE_TYPE": "simple", "CACHE_OPTIONS": {"threshold": 9}}
    Cache(app, config=given)
    Cache(app)
    assert dict(app.config) == before
    assert given == {"CACHE_TYPE": "simple", "CACHE_OPTIONS": {"threshold": 9}}
