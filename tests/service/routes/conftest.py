"""The service with Flask's test client on ``SimpleCache``."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from backends import FakeClock
from flask import Flask
from flask.testing import FlaskClient

import app as service
from common import cache


@pytest.fixture
def app() -> Iterator[Flask]:
    app = service.create_app({"TESTING": True, "CACHE_TYPE": "SimpleCache"})
    with app.app_context():
        yield app


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


@pytest.fixture
def clock(app: Flask) -> FakeClock:
    """The time of the store, which stands still."""
    return FakeClock(cache.state.store, {})
