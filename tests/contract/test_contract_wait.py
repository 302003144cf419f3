"""Waiting for another value, on every store."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import SimpleNamespace

import pytest
from backends import IN_THE_STATE, ONE_OF_EACH_KIND, Clock

from sharedstate import State
from sharedstate.state import waiting

SECONDS = 30  # Guards against a hang, and nothing else.


class Time:
    """Stands still, but for who sleeps; something may happen meanwhile."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.pauses: list[float] = []
        self.meanwhile: dict[int, Callable[[], object]] = {}

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds
        self.meanwhile.get(len(self.pauses), lambda: None)()


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    time = Time()
    fake = SimpleNamespace(sleep=time.sleep, monotonic=lambda: time.now)
    monkeypatch.setattr(waiting, "time", fake)
    return time


def version_of(state: State) -> str | None:
    item = state.item("key")
    return item and item.version


@ONE_OF_EACH_KIND
class TestWait:
    def test_another_version(self, state: State, time: Time) -> None:
        """What differs already is returned at once."""
        state.set("key", 1)
        for version in (None, "", "another"):
            assert state.wait("key", version) == state.item("key")
        state.delete("key")
        assert state.wait("key", "another") is None
        assert time.pauses == []

    def test_changes(self, state: State, time: Time) -> None:
        """A change is seen, whether the key comes, is replaced, or goes."""
        time.meanwhile = {
            3: lambda: state.set("key", 1),
            5: lambda: state.inc("key"),
            6: lambda: state.delete("key"),
        }
        seen = []
        for _ in range(3):
            item = state.wait("key", version_of(state))
            seen.append(item and item.value)
        assert (seen, len(time.pauses)) == ([1, 2, None], 6)

    def test_expires(self, state: State, time: Time, clock: Clock) -> None:
        """A key that expires is not there any more."""
        state.set("key", 1, timeout=100)
        time.meanwhile = {2: lambda: clock.advance(110)}
        assert state.wait("key", version_of(state)) is None

    def test_time_is_over(self, state: State, time: Time) -> None:
        """The pauses grow, and the item is as before when the time is over, and not later."""
        state.set("key", 1)
        assert state.wait("key", version_of(state), timeout=5) == state.item("key")
        assert time.now == 1005
        assert time.pauses[0] == 0.01
        assert max(time.pauses) == 0.25
        assert time.pauses[:-1] == sorted(time.pauses[:-1])
        state.delete("key")
        assert state.wait("key", None, timeout=0) is None
        assert time.now == 1005


@IN_THE_STATE
def test_wrong(state: State) -> None:
    """A timeout is a number of seconds."""
    for timeout, error in ((-1, ValueError), ("1", TypeError)):
        with pytest.raises(error, match="timeout"):
            state.wait("key", None, timeout)  # type: ignore[arg-type]


@ONE_OF_EACH_KIND
def test_another_thread(state: State) -> None:
    """Who waits sees what another one writes."""
    seen: list[object] = []
    waits = threading.Thread(target=lambda: seen.append(state.wait("key", None, SECONDS)))
    waits.start()
    state.set("key", "theirs")
    waits.join(SECONDS)
    assert seen == [state.item("key")]
