"""Fixtures of the tests of stores that combine."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from combined import (
    Company,
    Held,
    Watched,
)

from sharedstate.stores.combining import Combining


@pytest.fixture
def held() -> Held:
    return Held()


@pytest.fixture
def store(held: Held) -> Iterator[Combining]:
    store = Combining(held)
    store._queue = Watched()
    yield store
    held.holds = False
    held.may_go.release(100)
    store.close()


@pytest.fixture
def company(store: Combining, held: Held) -> Iterator[Company]:
    company = Company(store, held)
    yield company
    held.may_go.release(100)
    company.threads.shutdown()
