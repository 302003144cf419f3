"""Fixtures of the tests of the database store."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from databases import (
    state_at,
)

from sharedstate import State


@pytest.fixture(params=["sqlite_url", "empty_postgresql", "empty_mariadb"])
def url(request: pytest.FixtureRequest) -> str:
    """Each kind of database, without records."""
    return request.getfixturevalue(request.param)


@pytest.fixture(params=["empty_postgresql", "empty_mariadb"])
def server_url(request: pytest.FixtureRequest) -> str:
    """Each server, without records."""
    return request.getfixturevalue(request.param)


@pytest.fixture
def state(url: str) -> Iterator[State]:
    state = state_at(url)
    yield state
    state.close()
