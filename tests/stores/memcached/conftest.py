"""Fixtures of the tests of the memcached store."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from memcached_servers import Telnet, state_at

from sharedstate import State


@pytest.fixture
def state(empty_memcached: str, memcached_port: int) -> Iterator[State]:
    with state_at(memcached_port) as state:
        yield state


@pytest.fixture
def server(memcached_port: int) -> Iterator[Telnet]:
    with Telnet(memcached_port) as server:
        yield server
