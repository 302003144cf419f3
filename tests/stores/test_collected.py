"""What has expired is collected."""

from __future__ import annotations

import pytest
from backends import Backend, Clock
from lifecycle import (
    Settings,
    of,
    opened,
    records,
)

from sharedstate import State
from sharedstate.stores.base import Store


@of("filesystem")
def test_collected_in_proportion(cache_settings: Settings) -> None:
    """Batches collect as many records as they write, so that expired ones do not pile up."""
    with opened(cache_settings) as state:
        now = 1_800_000_000.0
        state.store.clock = lambda: now
        for i in range(20):
            state.set_many({f"{i} {j}": "x" for j in range(500)}, timeout=1)
            now += 2
            assert records(state.store) <= 1000


@of("simple", "filesystem", "lmdb")
@pytest.mark.slow
def test_expired_are_collected(backend: Backend, state: State, store: Store, clock: Clock) -> None:
    """What has expired goes as new keys come, so that there is never much more than what lives."""
    for i in range(5000):
        state.set(f"k{i}", "x" * 500, timeout=10)
        clock.advance(0.125)
        if i % 500 == 499:
            assert records(store) < 80 + 200
    assert len(state.keys()) == 79
    # One that is renewed all the time leaves nothing behind either.
    for _ in range(2000):
        state.touch("k4999", timeout=10)
        clock.advance(0.1)
        state.set("other", 1, timeout=1)
    assert records(store) < 100
