"""A Redis server at its `maxmemory`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import redis

from sharedstate import (
    State,
    StoreFull,
)
from sharedstate.state import Batch


def test_a_full_server_is_store_full(state: State, server: redis.Redis) -> None:
    """A server at its ``maxmemory`` refuses a write, keeps what it has, and can be emptied."""
    state.set("a", 1)
    server.config_set("maxmemory", 1)
    try:
        for write in (lambda: state.set("b", 1), lambda: state.inc("a"), lambda: state.add("b", 1)):
            with pytest.raises(StoreFull):
                write()
        assert state.get("a") == 1
        assert state.delete("a")
    finally:
        server.config_set("maxmemory", 0)


READS: dict[str, Callable[[State], Any]] = {
    "get": lambda s: s.get("a"),
    "get_many": lambda s: s.get_many("a", "b", "none"),
    "has": lambda s: (s.has("a"), s.has("none")),
    "ttl": lambda s: (s.ttl("a"), (s.ttl("b") or 0) > 50, s.ttl("none")),
    "item": lambda s: (s.item("a"), s.item("none")),
    "items": lambda s: sorted(item.key for item in s.items()[0]),
    "keys": lambda s: sorted(s.keys()),
    "batch": lambda s: batch_of_reads(s).apply(),
    "records": lambda s: s.store.read([b"test:a", b"test:none", b"test:a"]),
}


def batch_of_reads(state: State) -> Batch:
    batch = state.batch()
    batch.item("a")
    batch.item("none")
    return batch


@pytest.mark.parametrize("read", READS.values(), ids=READS)
def test_a_full_server_is_read(
    read: Callable[[State], Any], state: State, server: redis.Redis
) -> None:
    """What reads returns on a server at its ``maxmemory`` what it returned before."""
    state.set("a", 1)
    state.set("b", 2, timeout=60)
    before = read(state)
    assert server.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
    server.config_set("maxmemory", 1)
    try:
        server.script_flush()
        assert read(state) == before
        assert read(state) == before
    finally:
        server.config_set("maxmemory", 0)
