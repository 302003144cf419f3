"""What another program wrote, and what the service cannot read, over HTTP on every store."""

from __future__ import annotations

from typing import Any

import pytest
import redis
from flask.testing import FlaskClient

import app as service
from common import cache
from sharedstate.stores.operations import Put

RAW = {
    "bytes": b"\xff" * 100_000,
    "secret": b'{"password": "hunter2"',
    "deep": b"[" * 100_000,
    "half": b'["\\ud800"]',
    "nan": b"NaN",
    "huge": b"[1e999]",
}


def plant(name: str) -> None:
    """Store the bytes as another program would."""
    cache.state.store.transact((cache.state.keyspace.key(name),), Put(RAW[name], 100))


def check(problem: dict[str, Any]) -> None:
    assert (problem["status"], problem["type"]) == (400, "urn:sharedstate:not-serializable")
    assert len(problem["detail"]) < 300 and "hunter2" not in problem["detail"]


@pytest.mark.needs("keys")
def test_an_item_that_cannot_be_read_has_a_problem(client: FlaskClient) -> None:
    """It alone, in a listing and in a batch; it can be deleted and replaced."""
    cache.set("a", 1)
    cache.set("z", [2])
    for name in RAW:
        plant(name)
    items = {item["key"]: item for item in client.get("/v1/values").get_json()["items"]}
    assert (items["a"]["value"], items["z"]["value"]) == (1, [2])
    assert "problem" not in items["a"]
    operations = [{"op": "get", "key": key} for key in ("a", *RAW)]
    for atomic in (True, False):
        response = client.post("/v1/batch", json={"operations": operations, "atomic": atomic})
        found, *refused = response.get_json()["results"]
        assert (found["value"], {each["status"] for each in refused}) == (1, {400})
        for each in refused:
            check(each["problem"])
    for name in RAW:
        assert "value" not in items[name]
        assert 0 < items[name]["ttl"] <= 100 and items[name]["etag"]
        check(items[name]["problem"])
        check(client.get(f"/v1/values/{name}").get_json(force=True))
        assert client.delete(f"/v1/values/{name}").status_code == 204
    plant("nan")
    assert client.put("/v1/values/nan", json={"value": 5}).status_code == 200


def test_other_types_and_keys_of_redis_are_left_out(empty_redis: str) -> None:
    """A key that is not text, or holds a list, keeps nobody from the others."""
    config = {"CACHE_TYPE": "redis", "CACHE_REDIS_URL": empty_redis, "CACHE_KEY_PREFIX": "test:"}
    with redis.Redis.from_url(empty_redis) as server:
        server.rpush("test:list", "hunter2")
        server.set(b"test:\xff\xfe", "1")
    client = service.create_app({"TESTING": True, **config}).test_client()
    assert client.put("/v1/values/a", json={"value": 1}).status_code == 201
    response = client.get("/v1/values")
    assert response.status_code == 200, response.text
    assert [item["key"] for item in response.get_json()["items"]] == ["a"]
    check(client.get("/v1/values/list").get_json(force=True))
