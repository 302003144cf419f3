"""Waiters whose time is fake, and what is recorded of them."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from sharedstate import State
from sharedstate.codec import TEXTS
from sharedstate.locks import contention, fairness


class Time:
    """The time of the waiters: it passes in their sleeps alone, and others act meanwhile."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.asleep: Callable[[], object] = lambda: None

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.asleep()


@pytest.fixture
def waiting(monkeypatch: pytest.MonkeyPatch) -> Time:
    fake = Time()
    for module in ("fairness", "contention", "lock"):
        monkeypatch.setattr(f"sharedstate.locks.{module}.time", fake)
    return fake


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is handed to somebody waits longer than a busy machine lets a test wait."""
    monkeypatch.setattr(fairness, "HAND_OVER_SECONDS", 60)
    monkeypatch.setattr(contention, "LEASE_SECONDS", 60)


@pytest.fixture
def elsewhere() -> Any:
    """Runs a function in another thread, which is always the same."""
    with ThreadPoolExecutor(1) as pool:
        yield lambda function, *arguments: pool.submit(function, *arguments).result()


def record(state: State, name: str = "job", space: str = "lock") -> list[str]:
    """Who holds a lock, and who is in its queue."""
    return state.namespace(space, TEXTS).get(name, "").split()
