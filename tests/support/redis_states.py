"""States on a Redis server, and on one that a test plays."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

from stand_ins import listening

from sharedstate import (
    State,
)

SECONDS = 30  # Guards against a hang, and nothing else.


def state_at(url: str, **settings: Any) -> State:
    settings = {"CACHE_KEY_PREFIX": "test:", "CACHE_TIMEOUT": SECONDS} | settings
    return State.from_settings({"CACHE_TYPE": "redis", "CACHE_REDIS_URL": url} | settings)


@contextmanager
def stand_in(behave: Callable[[socket.socket], None], **settings: Any) -> Iterator[State]:
    """A state on a server that treats each connection as ``behave`` does."""
    with listening(behave) as port:
        # By host and port: made from a URL, redis-py's client would not retry anyway.
        state = State.from_settings(
            {
                "CACHE_TYPE": "redis",
                "CACHE_REDIS_HOST": "127.0.0.1",
                "CACHE_REDIS_PORT": port,
                "CACHE_OPTIONS": {"protocol": 2},
                "CACHE_TIMEOUT": SECONDS,
            }
            | settings
        )
        with closing(state):
            yield state
