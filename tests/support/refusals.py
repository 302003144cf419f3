"""A service whose clients are refused something, and the state that they must not change."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from flask.testing import FlaskClient

import app as service
from common import cache

JSON = "application/json"
PATCH = "application/merge-patch+json"


@contextmanager
def client_of(**config: Any) -> Iterator[FlaskClient]:
    """A client of a service with these settings, and what nobody may change: a, n and a session."""
    app = service.create_app({"TESTING": True, "CACHE_TYPE": "simple", **config})
    with app.app_context():
        client = app.test_client()
        cache.set("a", {"kept": True})
        cache.set("n", 41)
        client.put("/v1/session/values/s", json={"value": 1})
        yield client


def everything(client: FlaskClient) -> Any:
    return cache.items(limit=1000), client.get("/v1/session").get_json()


def refused(client: FlaskClient, status: int, *words: str, **request: Any) -> dict[str, Any]:
    """The problem that a request is refused with; nothing has changed."""
    before = everything(client)
    response = client.open(**request)
    assert response.status_code == status, (request, response.text)
    assert response.mimetype == "application/problem+json"
    problem: dict[str, Any] = response.get_json(force=True)
    assert problem["status"] == status
    for word in words:
        assert word in problem["detail"]
    assert everything(client) == before, "a refusal has changed something"
    return problem
