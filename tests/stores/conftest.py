"""What the tests of single stores share."""

from __future__ import annotations

import pytest
from backends import Backend
from lifecycle import Settings

_SLOW = {
    *("postgresql_url", "empty_postgresql", "mariadb_url", "empty_mariadb", "etcd_member"),
    *("cluster_url", "sentinel_url"),
}
"""Fixtures with servers that take longer to start than the tests that are not slow."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        used = {*getattr(item, "fixturenames", ())}
        if hasattr(item, "callspec"):
            used |= {value for value in item.callspec.params.values() if isinstance(value, str)}
        if used & _SLOW:
            item.add_marker(pytest.mark.slow)


@pytest.fixture
def cache_settings(cache_settings: Settings, backend: Backend) -> Settings:
    # Who has to wait on a busy machine is not to give up.
    return {"CACHE_TIMEOUT": "30", **cache_settings, "CACHE_KEY_PREFIX": backend.prefix}
