"""``/v1/limits``: who is let through, and what the others are told."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from backends import FakeClock
from flask.testing import FlaskClient

import app as service
from common import cache

URL = "/v1/limits/login"
RATE = {"limit": 2, "per": 60}


@pytest.fixture
def client() -> Iterator[FlaskClient]:
    app = service.create_app({"TESTING": True, "CACHE_TYPE": "simple"})
    with app.app_context():
        yield app.test_client()


@pytest.fixture
def clock(client: FlaskClient) -> FakeClock:
    return FakeClock(cache.state.store, {})


def test_as_many_as_it_says(client: FlaskClient, clock: FakeClock) -> None:
    """So many are let through; the next one is 429, until one has come back."""
    first, second, third = (client.post(URL, json=RATE) for _ in range(3))
    assert first.get_json() == {"name": "login", "limit": 2, "remaining": 1, "reset": 30}
    assert first.headers["RateLimit-Policy"] == '"default";q=2;w=60'
    assert first.headers["RateLimit"] == '"default";r=1;t=30'
    assert second.headers["RateLimit"] == '"default";r=0;t=60'
    assert (third.status_code, third.mimetype) == (429, "application/problem+json")
    assert third.get_json(force=True) == {
        "type": "urn:sharedstate:rate-limited",
        "title": "The rate limit is exceeded",
        "status": 429,
        "detail": "At most 2 hits are allowed in 60 seconds; this one is in 30.0 seconds.",
    }
    assert third.headers["Retry-After"] == "30"
    assert third.headers["RateLimit"] == '"default";r=0;t=60'
    clock.advance(30)
    assert client.post(URL, json=RATE).status_code == 200


def test_a_hit_may_count_as_several(client: FlaskClient, clock: FakeClock) -> None:
    """It is let through if all of it fits."""
    codes = [client.post(URL, json=RATE | {"cost": cost}).status_code for cost in (1, 2, 1)]
    assert codes == [200, 429, 200]


def test_those_of_the_application_count_too(client: FlaskClient, clock: FakeClock) -> None:
    """A limit has one name for the service and the application's code."""
    assert cache.limit("login", 2, per=60)
    assert client.post(URL, json=RATE).get_json()["remaining"] == 0


@pytest.mark.parametrize(
    "body",
    [
        {"limit": 0},
        {"limit": 1_000_001},
        {"limit": 1.5},
        {"per": 0},
        {"per": 0.5},
        {"cost": 0},
        {"cost": 3},
        {"limit": None},
    ],
)
def test_what_is_no_limit(client: FlaskClient, body: dict[str, object]) -> None:
    """It is 400, and counts for nothing."""
    assert client.post(URL, json=RATE | body).status_code == 400
    assert client.post(URL, json={"limit": 2}).status_code == 400
    assert client.post(URL, json=RATE).get_json()["remaining"] == 1


def test_it_is_apart_from_values(client: FlaskClient) -> None:
    """No listing shows its record, and no value of that key is touched by it."""
    client.put("/v1/values/login", json={"value": "kept"})
    client.post(URL, json=RATE)
    assert client.get("/v1/values/login").get_json()["value"] == "kept"
    assert [each["key"] for each in client.get("/v1/values").get_json()["items"]] == ["login"]
