"""What goes wrong is a problem document, which says what became of the request."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from problems import refused

from common import cache
from sharedstate import SharedStateError, StoreUnavailable
from sharedstate.errors import StoreFull


def test_unknown_paths_and_methods_are_problems(client: FlaskClient) -> None:
    """404 and 405 are problem documents too, and 405 says what is allowed."""
    refused(client.get("/nope"), 404)
    response = client.post("/v1/store")
    refused(response, 405)
    assert "GET" in response.headers["Allow"]


class _Broken:
    """A store on which everything fails."""

    scope = "network"
    can: frozenset[str] = frozenset()

    def __init__(self, error: SharedStateError) -> None:
        self.error = error

    def __getattr__(self, name: str) -> Any:
        def fail(*args: Any, **kwargs: Any) -> Any:
            raise self.error

        return fail


@pytest.mark.parametrize(
    ("unknown", "words"), [(True, "may or may not"), (False, "nothing was changed")]
)
def test_a_store_that_is_down_is_503(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch, unknown: bool, words: str
) -> None:
    """Without its store the service says so, when to try again, and what became of the write."""
    error = StoreUnavailable("redis://secret-host is down", outcome_unknown=unknown)
    monkeypatch.setattr(cache.state, "store", _Broken(error))
    response = client.post("/v1/counters/a")
    refused(response, 503, words)
    assert response.headers["Retry-After"] == "1"
    assert "secret-host" not in response.text
    refused(client.get("/health/ready"), 503)
    assert client.get("/health/live").status_code == 200


def test_a_stores_own_kind_of_error_is_the_same_problem(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error of a class below one of the library's is answered as that one."""

    class Refused(StoreUnavailable):
        pass

    monkeypatch.setattr(cache.state, "store", _Broken(Refused("no")))
    refused(client.post("/v1/counters/a"), 503, "nothing was changed")


def test_a_full_store_is_507(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write that finds no room is refused as such."""
    monkeypatch.setattr(cache.state, "store", _Broken(StoreFull("no room")))
    refused(client.put("/v1/values/a", json={"value": 1}), 507)


def test_unexpected_errors_show_no_trace(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bug is a 500 without its text, which the log has."""
    app.config["PROPAGATE_EXCEPTIONS"] = False
    monkeypatch.setattr(cache.state, "store", _Broken(ZeroDivisionError("inside")))  # type: ignore[arg-type]
    response = app.test_client().get("/v1/values/a")
    refused(response, 500)
    assert "inside" not in response.text


def test_a_refused_batch_names_its_step(client: FlaskClient) -> None:
    """The problem has the position of the operation that was refused, from 0."""
    cache.set("text", "x")
    operations = [{"op": "inc", "key": "a"}, {"op": "inc", "key": "text"}]
    response = client.post("/v1/batch", json={"operations": operations})
    refused(response, 409)
    assert response.get_json(force=True)["operation"] == 1
    assert cache.get("a") is None
