"""The plugin of pytest, which is there once sharedstate is installed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from . import MemoryCache
from . import race as race_of


@pytest.fixture
def shared_cache() -> MemoryCache:
    """A ``Cache`` in memory, empty for each test; ``shared_cache.clock.advance(60)`` moves time."""
    return MemoryCache()


@pytest.fixture
def race() -> Callable[..., list[Any]]:
    """``race(n, function)`` calls a function ``n`` times at once, and returns all results."""
    return race_of
