"""Idempotency keys and batches, on every store."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from backends import ON_ALL, ONE_OF_EACH_KIND, Backend
from flask.testing import FlaskClient

from common import cache
from sharedstate import State
from sharedstate.codec import PickleCodec

pytestmark = ONE_OF_EACH_KIND

COUNTER = "/v1/counters/a"
BATCH = "/v1/batch"


def inc(client: FlaskClient, token: str, path: str = COUNTER, **body: Any) -> Any:
    return client.post(path, json=body, headers={"Idempotency-Key": token})


def batch(client: FlaskClient, *operations: dict[str, Any], **others: Any) -> Any:
    return client.post(BATCH, json={"operations": operations, **others})


@pytest.mark.needs("once")
class TestIdempotencyKey:
    def test_repeat(self, client: FlaskClient) -> None:
        """A repeat returns what the first one did, says so, and changes nothing."""
        first = inc(client, "t", delta=5, ttl=1000)
        assert (first.status_code, first.get_json()) == (200, {"key": "a", "value": 5})
        assert "Idempotency-Replayed" not in first.headers
        client.post(COUNTER)
        again = inc(client, "t", delta=5, ttl=1000)
        assert (again.status_code, again.data) == (200, first.data)
        assert again.headers["Idempotency-Replayed"] == "true"
        assert client.get(COUNTER).get_json()["value"] == 6

    @pytest.mark.parametrize(
        ("path", "body"), [(COUNTER, {"delta": 6}), ("/v1/counters/b", {"delta": 5})]
    )
    def test_for_something_else(self, client: FlaskClient, path: str, body: Any) -> None:
        """The same key with another body or path is 422, and changes nothing."""
        inc(client, "t", delta=5)
        response = inc(client, "t", path, **body)
        assert (response.status_code, response.mimetype) == (422, "application/problem+json")
        assert client.get(COUNTER).get_json()["value"] == 5
        assert client.get("/v1/counters/b").status_code == 404

    def test_refused(self, client: FlaskClient) -> None:
        """A refused increment leaves its key free for another try."""
        assert inc(client, "t", maximum=0).status_code == 409
        assert inc(client, "t").get_json()["value"] == 1

    @pytest.mark.parametrize("token", ["", " ", "x" * 251])
    def test_not_a_key(self, client: FlaskClient, token: str) -> None:
        """An empty or overlong key is 400, and nothing is counted."""
        assert inc(client, token).status_code == 400
        assert client.get(COUNTER).status_code == 404

    def test_many_clients_three_times(self, client: FlaskClient) -> None:
        """40 clients that each send the same key three times at once count 40."""
        app = client.application

        def send(n: int) -> tuple[int, bool]:
            response = inc(app.test_client(), f"client {n // 3}")
            assert response.status_code == 200
            return response.get_json()["value"], "Idempotency-Replayed" in response.headers

        with ThreadPoolExecutor(40) as pool:
            responses = list(pool.map(send, range(120)))
        assert sorted(number for number, is_repeat in responses if not is_repeat) == [*range(1, 41)]
        assert sorted(number for number, _ in responses) == sorted([*range(1, 41)] * 3)
        assert client.get(COUNTER).get_json()["value"] == 40


@ON_ALL
def test_a_store_that_cannot_is_501(client: FlaskClient, backend: Backend) -> None:
    """Where a store knows no keys or no batches in one step, that is said and nothing is done."""
    able = backend.can >= {"once", "atomic_batch"}
    assert inc(client, "t").status_code == (200 if able else 501)
    response = batch(client, {"op": "set", "key": "b", "value": 1})
    assert response.status_code == (200 if able else 501)
    assert client.get(COUNTER).status_code == (200 if able else 404)
    assert client.get("/v1/values/b").status_code == (200 if able else 404)


ALL = [
    {"op": "get", "key": "a"},
    {"op": "set", "key": "a", "value": 7, "ttl": 1000},
    {"op": "inc", "key": "a", "delta": -2, "minimum": 0},
    {"op": "inc", "key": "b", "initial": 10},
    {"op": "set", "key": "c", "value": None},
    {"op": "get", "key": "c"},
    {"op": "delete", "key": "c"},
    {"op": "delete", "key": "c"},
]


@pytest.mark.parametrize("atomic", [True, False])
def test_a_batch_answers_each(client: FlaskClient, backend: Backend, atomic: bool) -> None:
    """Each operation of a batch sees those before it, and has an answer of its own."""
    if atomic and "atomic_batch" not in backend.can:
        return  # See test_a_store_that_cannot_is_501.
    response = batch(client, *ALL, atomic=atomic)
    assert response.status_code == 200
    assert response.get_json()["results"] == [
        {"status": 404, "key": "a"},
        {"status": 200, "key": "a"},
        {"status": 200, "key": "a", "value": 5},
        {"status": 200, "key": "b", "value": 11},
        {"status": 200, "key": "c"},
        {"status": 200, "key": "c", "value": None, "ttl": None},
        {"status": 204, "key": "c"},
        {"status": 404, "key": "c"},
    ]
    assert 900 < client.get("/v1/values/a").get_json()["ttl"] <= 1000
    assert client.get("/v1/values/c").status_code == 404


@pytest.mark.needs("atomic_batch")
def test_an_atomic_batch_is_done_or_not(client: FlaskClient) -> None:
    """One refused operation refuses the batch, says which one it was, and nothing is done."""
    client.put("/v1/values/text", json={"value": "x"})
    wrong = [{"op": "inc", "key": "text"}, {"op": "inc", "key": "a", "maximum": 1}]
    for refused in wrong:
        operations = [{"op": "inc", "key": "a"}, {"op": "delete", "key": "text"}]
        response = batch(client, operations[0], refused, operations[1])
        assert (response.status_code, response.mimetype) == (409, "application/problem+json")
        assert response.get_json(force=True)["operation"] == 1
        assert client.get(COUNTER).status_code == 404
        assert client.get("/v1/values/text").get_json()["value"] == "x"


def test_a_batch_that_is_not_atomic_does_what_it_can(client: FlaskClient) -> None:
    """One refused operation has its problem as its answer; the others are done."""
    client.put("/v1/values/text", json={"value": "x"})
    steps = [{"op": "inc", "key": key} for key in ("a", "text", "a")]
    first, refused, second = batch(client, *steps, atomic=False).get_json()["results"]
    assert (first["value"], second["value"]) == (1, 2)
    assert (refused["status"], refused["problem"]["type"]) == (409, "urn:sharedstate:not-a-counter")
    assert client.get(COUNTER).get_json()["value"] == 2


@pytest.mark.parametrize("atomic", [True, False])
def test_what_cannot_be_read_is_one_answer(
    client: FlaskClient, backend: Backend, atomic: bool
) -> None:
    """A value that is no JSON, as others may write it, is no error of the batch that was done."""
    if atomic and "atomic_batch" not in backend.can:
        return
    others = State(cache.state.store, codec=PickleCodec(), prefix=cache.state.key_prefix)
    others.set("theirs", {1, 2})
    steps = [{"op": "inc", "key": "a"}, {"op": "get", "key": "theirs"}]
    response = batch(client, *steps, atomic=atomic)
    assert response.status_code == 200
    number, theirs = response.get_json()["results"]
    assert number["value"] == client.get(COUNTER).get_json()["value"] == 1
    assert theirs["status"] == 400
    assert theirs["problem"]["type"] == "urn:sharedstate:not-serializable"


WRONG = [
    (400, [{"op": "inc", "key": "a"}, {"op": "set", "key": "\0", "value": 1}]),
    (400, [{"op": "inc", "key": "a"}, {"op": "set", "key": "ü" * 126, "value": 1}]),
    (400, [{"op": "inc", "key": "a"}, {"op": "raise", "key": "a"}]),
    (400, [{"op": "inc", "key": "a"}, {"op": "set", "key": "a"}]),
    (400, [{"op": "inc", "key": "a", "minimum": 2, "maximum": 1}]),
    (413, [{"op": "inc", "key": "a"}] * 1001),
]


@pytest.mark.needs("atomic_batch")
@pytest.mark.parametrize("atomic", [True, False])
def test_a_wrong_batch_is_refused_whole(client: FlaskClient, atomic: bool) -> None:
    """A batch with an operation that is none is refused before anything is done."""
    for status, operations in WRONG:
        assert batch(client, *operations, atomic=atomic).status_code == status, operations[-1]
        assert client.get(COUNTER).status_code == 404


@pytest.mark.needs("atomic_batch")
def test_atomic_batches_at_once(client: FlaskClient) -> None:
    """Transfers between two counters by many clients keep their sum at every moment."""
    app = client.application
    batch(client, *({"op": "set", "key": key, "value": 100} for key in "ab"))

    def transfer(n: int) -> int:
        delta = 1 if n % 2 else -1
        steps = [
            {"op": "inc", "key": "a", "delta": delta},
            {"op": "inc", "key": "b", "delta": -delta},
        ]
        a, b = batch(app.test_client(), *steps).get_json()["results"]
        return a["value"] + b["value"]

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(transfer, range(80))) == {200}
