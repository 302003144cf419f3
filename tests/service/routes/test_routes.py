"""The routes of values, batches and the rest, with Flask's test client on ``SimpleCache``."""

from __future__ import annotations

import json
import os
from urllib.parse import quote

import pytest
from backends import FakeClock
from flask import current_app
from flask.testing import FlaskClient
from problems import refused

import app as service
from common import cache


def test_a_value_is_created_replaced_shown_and_removed(client: FlaskClient) -> None:
    """PUT returns 201 for a new key and 200 for another value, GET what is there, DELETE 204."""
    first = client.put("/v1/values/a", json={"value": {"b": [1, None]}})
    assert (first.status_code, first.get_json()) == (
        201,
        {"key": "a", "value": {"b": [1, None]}, "ttl": None},
    )
    assert client.put("/v1/values/a", json={"value": None}).status_code == 200
    shown = client.get("/v1/values/a")
    assert shown.get_json() == {"key": "a", "value": None, "ttl": None}
    assert shown.headers["Cache-Control"] == "no-cache"
    gone = client.delete("/v1/values/a")
    assert (gone.status_code, gone.data) == (204, b"")
    assert "Content-Type" not in gone.headers
    refused(client.get("/v1/values/a"), 404, "'a'")
    refused(client.delete("/v1/values/a"), 404, "'a'")


def test_a_refusal_names_the_key(client: FlaskClient) -> None:
    """What a key cannot do is refused with its name, as the client has it."""
    client.put("/v1/values/a", json={"value": "x"})
    client.put("/v1/values/n", json={"value": 1})
    refused(client.post("/v1/counters/a"), 409, "The key 'a' holds something other")
    refused(client.post("/v1/counters/n", json={"maximum": 1}), 409, "The key 'n': ", " to 1;")
    steps = [{"op": "inc", "key": "n"}, {"op": "inc", "key": "a"}]
    refused(client.post("/v1/batch", json={"operations": steps}), 409, "The key 'a' holds")


def test_a_value_with_a_ttl_expires(client: FlaskClient, clock: FakeClock) -> None:
    """A value is there until its ``ttl`` is over, and says how long that is."""
    client.put("/v1/values/a", json={"value": 1, "ttl": 2.5})
    clock.advance(1)
    assert client.get("/v1/values/a").get_json()["ttl"] == 1.5
    clock.advance(1.5)
    refused(client.get("/v1/values/a"), 404)


@pytest.mark.parametrize(
    "key",
    ["a/b", "/a", "a//b/", " a b ", "ü", "日本", "100%", "a%2Fb", "?x=1", "a#b", "..", "x" * 250],
)
def test_keys_are_what_the_path_says(client: FlaskClient, key: str) -> None:
    """Slashes, spaces, Unicode and percent signs in a key reach the store as they are."""
    path = f"/v1/values/{quote(key, safe='/')}"
    assert client.put(path, json={"value": 1}).get_json()["key"] == key
    assert cache.get(key) == 1
    assert client.get(path).get_json()["key"] == key
    assert client.post(path.replace("values", "counters")).get_json() == {"key": key, "value": 2}


@pytest.mark.parametrize("path", ["%00", "a%0Ab", "%FF", "x" * 251, quote("ü" * 126), "%EF%BF%BD"])
def test_keys_that_are_not_allowed_are_400(client: FlaskClient, path: str) -> None:
    """A key with control characters, invalid UTF-8 or more than 250 bytes is refused."""
    for kind in ("values", "counters"):
        for method in ("GET", "PUT", "DELETE"):
            refused(client.open(f"/v1/{kind}/{path}", method=method, json={"value": 1}), 400)
    assert cache.keys() == []


def test_values_are_listed_by_prefix_in_pages(client: FlaskClient) -> None:
    """The listing has each key with the prefix once, page after page."""
    for number in range(5):
        cache.set(f"a{number}", number)
    cache.set("b", 1, timeout=1000)
    first = client.get("/v1/values?prefix=a&limit=3").get_json()
    assert [item["key"] for item in first["items"]] == ["a0", "a1", "a2"]
    second = client.get(f"/v1/values?prefix=a&limit=3&cursor={first['next']}").get_json()
    tags = [client.get(f"/v1/values/a{n}").headers["ETag"] for n in (3, 4)]
    assert second == {
        "items": [
            {"key": f"a{n}", "value": n, "ttl": None, "etag": tag}
            for n, tag in zip((3, 4), tags, strict=True)
        ],
        "next": None,
    }
    assert len(client.get("/v1/values").get_json()["items"]) == 6


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "limit=x", "cursor=zz"])
def test_a_listing_that_makes_no_sense_is_400(client: FlaskClient, query: str) -> None:
    """A limit out of bounds and a made-up cursor are refused."""
    refused(client.get(f"/v1/values?{query}"), 400)


def test_the_default_ttl_is_told() -> None:
    """Where values expire by default, PUT says when, for values and counters alike."""
    app = service.create_app({"CACHE_TYPE": "simple", "CACHE_DEFAULT_TIMEOUT": 60})
    client = app.test_client()
    for kind in ("values", "counters"):
        assert client.put(f"/v1/{kind}/a", json={"value": 1}).get_json()["ttl"] == 60
        assert client.put(f"/v1/{kind}/a", json={"value": 1, "ttl": 0}).get_json()["ttl"] is None


@pytest.mark.parametrize(
    ("kind", "body", "words"),
    [
        ("values", "{", "JSON"),
        ("values", "[]", "object"),
        ("values", "{}", "'value'"),
        ("values", '{"value": NaN}', "not valid JSON"),
        ("values", '{"value": 1, "tll": 2}', "'tll'"),
        ("values", '{"value": 1, "ttl": -1}', "'ttl'"),
        ("values", '{"value": 1, "ttl": "2"}', "'ttl'"),
        ("values", '{"value": 1, "ttl": true}', "'ttl'"),
        ("values", '{"value": 1, "ttl": 1e999}', "'ttl'"),
        ("values", "[" * 100_000, "object"),
        ("values", '{"value": ' + "9" * 5000 + "}", "'value'"),
        ("values", '{"value": "\\ud800"}', "not valid JSON"),
        ("counters", '{"value": 1.5}', "'value'"),
        ("counters", '{"value": true}', "'value'"),
        ("counters", '{"value": 9223372036854775808}', "'value'"),
    ],
)
def test_a_broken_body_is_400(client: FlaskClient, kind: str, body: str, words: str) -> None:
    """A body that is not as it should be is refused, with what is wrong, and nothing changes."""
    response = client.put(f"/v1/{kind}/a", data=body, content_type="application/json")
    refused(response, 400, words)
    assert cache.keys() == []


@pytest.mark.parametrize("atomic", [True, False])
def test_a_batch_answers_as_each_operation_does(
    client: FlaskClient, clock: FakeClock, atomic: bool
) -> None:
    """A time to live is kept and told, null is for ever, and what was not there is 404."""
    operations = [
        {"op": "set", "key": "short", "value": 1, "ttl": 60},
        {"op": "set", "key": "long", "value": 2},
        {"op": "get", "key": "short"},
        {"op": "get", "key": "long"},
        {"op": "delete", "key": "long"},
        {"op": "delete", "key": "long"},
        {"op": "get", "key": "long"},
    ]
    response = client.post("/v1/batch", json={"operations": operations, "atomic": atomic})
    results = response.get_json()["results"]
    assert [result["status"] for result in results] == [200, 200, 200, 200, 204, 404, 404]
    assert results[2]["ttl"] == 60
    assert results[3] == {"status": 200, "key": "long", "value": 2, "ttl": None}
    assert client.get("/v1/values/short").get_json()["ttl"] == 60


def test_a_batch_says_which_operation_is_not_allowed(client: FlaskClient) -> None:
    """A key that is too long in bytes, though not in characters, refuses all with its number."""
    operations = [{"op": "inc", "key": "a"}, {"op": "get", "key": "ü" * 126}]
    response = client.post("/v1/batch", json={"operations": operations})
    refused(response, 400, "252")
    assert response.get_json(force=True)["operation"] == 1
    assert cache.keys() == []


def test_the_tag_of_a_page_tells_that_there_is_another_one(client: FlaskClient) -> None:
    """The same items with a ``next`` that was null before are no longer what the client has."""
    current_app.config["MAX_RESPONSE_BYTES"] = 10
    cache.set("a", "small")
    tag = client.get("/v1/values").headers["ETag"]
    cache.set("b", "larger than there is room for")
    page = client.get("/v1/values", headers={"If-None-Match": tag})
    assert page.status_code == 200 and page.get_json()["next"] is not None


def test_a_session_that_is_ended_leaves_nothing(client: FlaskClient) -> None:
    """What the client kept is gone from the store, and not only from its sight."""
    client.put("/v1/session/values/a", json={"value": "secret"})
    kept = cache.state.namespace("client")
    (old,) = kept.keys()
    assert client.delete("/v1/session").status_code == 204
    (new,) = kept.keys()
    assert new != old
    assert kept.get(new) == {"values": {}, "counters": {}}


def test_large_bodies_and_values_are_413(client: FlaskClient) -> None:
    """A value of 1 MiB fits; one that is larger is refused, however it is sent."""
    fits = "x" * ((1 << 20) - 2)
    assert client.put("/v1/values/a", json={"value": fits}).status_code == 201
    refused(client.put("/v1/values/b", json={"value": fits + "x"}), 413, "1,048,577")
    refused(client.put("/v1/values/b", json={"value": "x" * (2 << 20)}), 413)
    assert cache.keys() == ["a"]


def test_health_and_store(client: FlaskClient) -> None:
    """A process is live, with its store ready, and the store says what it is."""
    assert client.get("/health/live").get_json() == {"status": "live"}
    assert client.get("/health/ready").get_json() == {"status": "ready"}
    assert client.get("/v1/store").get_json() == {
        "type": "simple",
        "scope": "process",
        "durability": "none",
        "codec": "json",
        "can": {"keys": True, "once": True, "atomic_batch": True},
        "entries": 0,
        "bytes": 0,
        "worker": os.getpid(),
        "workers": None,
        "threads": None,
    }


def test_several_processes_on_simple_are_not_ready(client: FlaskClient) -> None:
    """Where each process would count for itself, the readiness route says so."""
    refused(
        client.get("/health/ready", environ_overrides={"wsgi.multiprocess": True}), 503, "simple"
    )


def test_settings_come_from_the_environment_and_the_caller(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """``FLASK_…`` variables are settings, and what the caller passes goes before them."""
    monkeypatch.setenv("FLASK_CACHE_TYPE", "simple")
    monkeypatch.setenv("FLASK_CACHE_KEY_PREFIX", "env:")
    app = service.create_app({"CACHE_DEFAULT_TIMEOUT": 5})
    with app.app_context():
        assert cache.state.store.name == "simple"
        assert cache.state.key_prefix == "env:"
        assert cache.state.default_timeout == 5
    assert json.loads(json.dumps(app.config["MAX_CONTENT_LENGTH"])) > 1 << 20
