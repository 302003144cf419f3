"""Locks over HTTP, on every store; and what becomes of one whose holder is killed."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from backends import ON_ALL, ONE_OF_EACH_KIND, Backend, Clock, about
from flask.testing import FlaskClient

from common import cache

pytestmark = ONE_OF_EACH_KIND

LOCK = "/v1/locks/job"


@pytest.fixture
def passing(client: FlaskClient, backend: Backend, cache_settings: dict[str, str]) -> Clock:
    """What lets time pass for the application's own store."""
    return backend.clock(cache.state.store, cache_settings)


def refused(response: Any, status: int) -> bool:
    return (response.status_code, response.mimetype) == (status, "application/problem+json")


def test_is_held_and_released(client: FlaskClient) -> None:
    """A lock is free, held by one, and free again; its token is for the holder alone."""
    assert refused(client.get(LOCK), 404)
    taken = client.post(LOCK, json={"lease": 60})
    lock = taken.get_json()
    assert (taken.status_code, lock["name"], lock["expires_in"]) == (201, "job", 60)
    shown = client.get(LOCK)
    assert shown.get_json() == {"name": "job", "expires_in": about(60)}
    assert lock["token"] not in shown.text
    others = client.post(LOCK, json={"lease": 60})
    assert refused(others, 409)
    assert int(others.headers["Retry-After"]) >= 1
    assert lock["token"] not in others.text
    assert client.delete(LOCK, json={"token": lock["token"]}).status_code == 204
    assert refused(client.get(LOCK), 404)
    assert refused(client.delete(LOCK, json={"token": lock["token"]}), 409)


def test_fences_grow(client: FlaskClient) -> None:
    """Each holder's fence is higher than all before, with the locks of the application's code."""
    fences = []
    for _ in range(3):
        lock = client.post(LOCK).get_json()
        fences.append(lock["fence"])
        client.delete(LOCK, json={"token": lock["token"]})
        with cache.lock("job") as held:
            fences.append(held.fence)
            assert refused(client.post(LOCK), 409)
    assert fences == sorted(set(fences))


def test_renewing(client: FlaskClient, passing: Clock) -> None:
    """The holder goes on by renewing, and after its lease nobody does."""
    token = client.post(LOCK, json={"lease": 60}).get_json()["token"]
    passing.advance(50)
    renewed = client.put(LOCK, json={"token": token, "lease": 100})
    assert (renewed.status_code, renewed.get_json()) == (200, {"name": "job", "expires_in": 100})
    passing.advance(90)
    assert client.get(LOCK).get_json()["expires_in"] == about(10)
    passing.advance(20)
    assert refused(client.get(LOCK), 404)
    assert refused(client.put(LOCK, json={"token": token}), 409)
    second = client.post(LOCK).get_json()
    assert refused(client.put(LOCK, json={"token": token}), 409)
    assert refused(client.delete(LOCK, json={"token": token}), 409)
    assert client.put(LOCK, json={"token": second["token"]}).status_code == 200


def test_only_the_holder(client: FlaskClient) -> None:
    """A token that is not the holder's renews and releases nothing."""
    held = client.post(LOCK, json={"lease": 60}).get_json()["token"]
    nonce, _, fence = held.rpartition(".")
    for token in ("", "x", fence, nonce, f"{held}0", f"{nonce}.{int(fence) + 1}"):
        assert refused(client.put(LOCK, json={"token": token, "lease": 3000}), 409)
        assert refused(client.delete(LOCK, json={"token": token}), 409)
        assert client.get(LOCK).get_json()["expires_in"] == about(60)


def test_wrong_bodies(client: FlaskClient) -> None:
    """A lease that is none is 400, and nobody holds the lock."""
    bodies = [{"lease": lease} for lease in (0, 0.5, 3601, "1", None)]
    for body in [*bodies, {"leese": 1}, []]:
        for method in ("POST", "PUT", "DELETE"):
            assert refused(client.open(LOCK, method=method, json=body), 400)
        assert refused(client.get(LOCK), 404)


def test_one_of_many_holds_it(client: FlaskClient) -> None:
    """Of clients that ask at once, one gets it."""
    app = client.application
    with ThreadPoolExecutor(8) as pool:
        codes = list(pool.map(lambda _: app.test_client().post(LOCK).status_code, range(32)))
    assert sorted(codes) == [201] + [409] * 31


@pytest.mark.needs("keys")
def test_nothing_of_it_is_reached_as_a_value(client: FlaskClient) -> None:
    """Locks, tokens and fences are no values or counters, by whatever key is asked."""
    token = client.post(LOCK).get_json()["token"]
    assert client.get("/v1/values").get_json()["items"] == []
    for key in (
        "job",
        "%00lock:job",
        "lock:job",
        "lock/job",
        "all%20locks",
        "%00lock/fence:all locks",
    ):
        assert client.get(f"/v1/values/{key}").status_code in (400, 404)
        assert client.delete(f"/v1/values/{key}").status_code in (400, 404)
    assert client.get("/v1/values?prefix=%00lock:").status_code == 400
    assert client.put(LOCK, json={"token": token}).status_code == 200


@ON_ALL
@pytest.mark.needs("keys")
def test_no_cursor_shows_it(client: FlaskClient, backend: Backend) -> None:
    """A made-up cursor of a listing that names a lock's record does not show its token."""
    token = client.post(LOCK).get_json()["token"]
    record = f"\0lock:{backend.prefix}job".encode().hex()
    for before in ("", "-1:", "0:", *(f"{node}:-1:" for node in range(3))):
        shown = client.get("/v1/values", query_string={"cursor": before + record})
        assert refused(shown, 400) or shown.get_json()["items"] == []
        assert token not in shown.text
    for number in (10**26, -(10**26), f"0:{10**26}"):
        shown = client.get("/v1/values", query_string={"cursor": number})
        assert refused(shown, 400) or shown.get_json()["items"] == []
    assert client.put(LOCK, json={"token": token}).status_code == 200
