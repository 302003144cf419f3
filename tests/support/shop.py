"""A shop whose payments are idempotent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask, jsonify
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from sharedstate import State
from sharedstate.jobs import Jobs


class Maker(Jobs):
    """As a cache: it has a state."""

    def __init__(self, state: State) -> None:
        self.state = state  # type: ignore[misc]


class Shop:
    """An application whose view says how often it has run."""

    def __init__(self, state: State, **options: Any) -> None:
        self.runs = 0
        self.before: Callable[[], object] = lambda: None
        app = self.app = Flask("shop")
        app.testing = True
        idempotent = Maker(state).idempotent(**options)

        @app.route("/pay/<item>", methods=["POST", "PUT"])
        @app.post("/give/<item>")
        @idempotent
        def pay(item: str) -> Any:
            """Pays."""
            self.runs += 1
            done = self.before()
            if done is not None:
                return done
            return jsonify(run=self.runs, item=item), 201, {"Location": f"/paid/{self.runs}"}

        self.view = pay

    def client(self) -> FlaskClient:
        return self.app.test_client()

    def pay(self, key: str | None = "k", path: str = "/pay/a", **given: Any) -> TestResponse:
        headers = {} if key is None else {"Idempotency-Key": key}
        headers |= given.pop("headers", {})
        return self.client().open(path, **{"method": "POST", "headers": headers, **given})


@pytest.fixture
def shop(state: State) -> Shop:
    return Shop(state)


def is_replay(response: TestResponse) -> bool:
    return response.headers.get("Idempotency-Replayed") == "true"
