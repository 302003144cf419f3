"""Fixtures of the tests of the Redis store."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis
from redis_states import state_at

from sharedstate import State


@pytest.fixture
def state(empty_redis: str) -> Iterator[State]:
    state = state_at(empty_redis)
    yield state
    state.close()


@pytest.fixture
def server(empty_redis: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(empty_redis) as server:
        yield server
