"""The routes of counters, with Flask's test client on ``SimpleCache``."""

from __future__ import annotations

from typing import Any

import pytest
from backends import FakeClock
from flask.testing import FlaskClient
from problems import refused

from common import cache

MAX = 2**63 - 1


def test_a_counter_counts_from_an_empty_body(client: FlaskClient) -> None:
    """POST without a body adds one to a counter that it makes."""
    numbers = [client.post("/v1/counters/a").get_json() for _ in range(3)]
    assert numbers == [{"key": "a", "value": n} for n in (1, 2, 3)]
    assert client.get("/v1/counters/a").get_json() == {"key": "a", "value": 3, "ttl": None}


def test_a_counter_takes_every_member(client: FlaskClient, clock: FakeClock) -> None:
    """``delta``, ``initial``, ``minimum``, ``maximum`` and ``ttl`` mean what ``inc`` says."""
    body = {"delta": -2, "initial": 10, "minimum": 5, "maximum": 8, "ttl": 60}
    assert client.post("/v1/counters/a", json=body).get_json()["value"] == 8
    assert client.get("/v1/counters/a").get_json()["ttl"] == 60
    assert client.post("/v1/counters/a", json=body).get_json()["value"] == 6
    refused(client.post("/v1/counters/a", json=body), 409, "bounds")
    assert cache.get("a") == 6


def test_a_counter_is_set_and_removed(client: FlaskClient) -> None:
    """PUT returns 201 or 200, DELETE 204 or 404."""
    assert client.put("/v1/counters/a", json={"value": 7}).status_code == 201
    assert client.put("/v1/counters/a", json={"value": 0}).status_code == 200
    assert client.post("/v1/counters/a").get_json()["value"] == 1
    assert client.delete("/v1/counters/a").status_code == 204
    refused(client.delete("/v1/counters/a"), 404)
    refused(client.get("/v1/counters/a"), 404)


@pytest.mark.parametrize("value", ["text", 1.5, True, None, [1], 2**63])
def test_what_is_no_counter_stays(client: FlaskClient, value: Any) -> None:
    """Counting on another value is 409 and changes nothing."""
    cache.set("a", value)
    refused(client.post("/v1/counters/a"), 409)
    assert cache.get("a") == value


def test_a_counter_does_not_pass_its_end(client: FlaskClient) -> None:
    """The largest number plus one is 409 and changes nothing."""
    client.put("/v1/counters/a", json={"value": MAX})
    refused(client.post("/v1/counters/a"), 409, "bounds")
    assert client.get("/v1/counters/a").get_json()["value"] == MAX


@pytest.mark.parametrize("value", ["text", True, False, 1.0, None])
def test_reading_a_value_as_a_counter_is_409(client: FlaskClient, value: Any) -> None:
    """GET of a counter says so when the key holds something else, as true, which is no number."""
    cache.set("a", value)
    refused(client.get("/v1/counters/a"), 409)


@pytest.mark.parametrize("member", ["delta", "initial", "minimum", "maximum"])
def test_a_counter_takes_no_other_kind_of_number(client: FlaskClient, member: str) -> None:
    """Wherever a counter is changed: true is not 1, and 1.0 is not either."""
    for wrong in (True, False, 1.0, "1", 2**63):
        refused(client.post("/v1/counters/a", json={member: wrong}), 400, member)
        operation = {"op": "inc", "key": "a", member: wrong}
        refused(client.post("/v1/batch", json={"operations": [operation]}), 400, member)
    assert cache.keys() == []


@pytest.mark.parametrize("wrong", [True, 1.0, "1", 2**63, None])
def test_nor_does_a_counter_of_a_client(client: FlaskClient, wrong: Any) -> None:
    """Neither as what it is set to, nor as what is added."""
    refused(client.put("/v1/session/counters/a", json={"value": wrong}), 400, "value")
    refused(client.post("/v1/session/counters/a", json={"delta": wrong}), 400, "delta")
    assert client.get("/v1/session").get_json() == {"values": {}, "counters": {}}


@pytest.mark.parametrize(
    "body",
    [
        {"delta": 1.0},
        {"delta": "1"},
        {"delta": True},
        {"initial": 2**63},
        {"minimum": [], "delta": 1},
        {"maximum": {}},
        {"ttl": -1},
        {"dleta": 1},
        {"minimum": 2, "maximum": 1},
    ],
)
def test_a_broken_increment_is_400(client: FlaskClient, body: dict[str, Any]) -> None:
    """An increment with a member that is wrong is refused, and nothing changes."""
    refused(client.post("/v1/counters/a", json=body), 400)
    assert cache.keys() == []


def test_a_form_is_415(client: FlaskClient) -> None:
    """What ``curl -d`` sends without a header is refused with the header to send."""
    refused(client.post("/v1/counters/a", data={"delta": 5}), 415, "application/json")
    assert not cache.has("a")
