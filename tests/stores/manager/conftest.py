"""Fixtures of the tests of the manager."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from managers import SECONDS, end, serves

from sharedstate.stores.guards.breaker import Breaker
from sharedstate.stores.manager import local
from sharedstate.stores.manager.store import FILE_NAME


@pytest.fixture(autouse=True)
def no_breaker(monkeypatch):
    """What the store itself says, each time; the breaker before it has tests of its own.

    A busy machine may take long to start a manager.
    """
    monkeypatch.setattr(local, "START_SECONDS", SECONDS)
    monkeypatch.setattr(Breaker, "_call", lambda self, keys, call, *arguments: call(*arguments))


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    """A socket whose manager, if a test has started one, is ended after it."""
    path = tmp_path / FILE_NAME
    yield path
    if serves(path):
        end(path)
