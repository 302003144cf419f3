"""Fixtures of the tests of single stores."""

from __future__ import annotations

import pytest
from backends import Backend
from lifecycle import Settings


@pytest.fixture
def cache_settings(cache_settings: Settings, backend: Backend) -> Settings:
    # Who has to wait on a busy machine is not to give up.
    return {"CACHE_TIMEOUT": "30", **cache_settings, "CACHE_KEY_PREFIX": backend.prefix}
