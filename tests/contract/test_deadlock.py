"""Whoever waits for what it holds itself is told at once."""

# ruff: noqa: F811  # the fixtures that are imported are arguments of the tests

from __future__ import annotations

from typing import Any

import crowd
import pytest
from backends import ONE_OF_EACH_KIND
from waiters import Time, elsewhere, patient, waiting  # noqa: F401  # fixtures

from sharedstate import Deadlock, LockTimeout, State


@ONE_OF_EACH_KIND
class TestDeadlock:
    def test_lock(self, state: State, waiting: Time) -> None:
        """A thread that holds a lock and waits for it by another object is told at once."""
        began = waiting.now
        with state.lock("job"):
            with pytest.raises(Deadlock, match="'job'"):
                state.lock("job").acquire()
            assert not state.lock("job").try_acquire()
        assert waiting.now == began
        with state.lock("job"):
            pass

    def test_other_thread(self, state: State, elsewhere: Any) -> None:
        """Another thread waits as ever, and so does one whose lock was lost or given away."""
        lock = state.lock("job").acquire()
        with pytest.raises(LockTimeout) as caught:
            elsewhere(state.lock("job", wait=0.05).acquire)
        assert not isinstance(caught.value, Deadlock)
        lock.release()
        other = elsewhere(state.lock("job").acquire)
        with pytest.raises(LockTimeout) as caught:
            state.lock("job", wait=0.05).acquire()
        assert not isinstance(caught.value, Deadlock)
        other.release()

    def test_lost(self, state: State, elsewhere: Any, clock: Any) -> None:
        """Who has lost a lock to others waits for it as ever."""
        lost = state.lock("job", lease=100).acquire()
        clock.advance(110)
        elsewhere(state.lock("job").acquire)
        with pytest.raises(LockTimeout) as caught:
            state.lock("job", wait=0.05).acquire()
        assert not isinstance(caught.value, Deadlock)
        assert lost.token

    def test_fork(self, state: State, monkeypatch: pytest.MonkeyPatch) -> None:
        """A child waits for the lock that its parent held when it forked."""
        lock = state.lock("job").acquire()
        monkeypatch.setattr(lock, "_process", -1)
        with pytest.raises(LockTimeout) as caught:
            state.lock("job", wait=0.05).acquire()
        assert not isinstance(caught.value, Deadlock)
        lock.release()

    def test_forked(self, state: State) -> None:
        """A child waits for the lock of the thread that forked it as any other process does."""
        with state.lock("job"):
            raised = crowd.in_child(state.lock("job", wait=0.05).acquire)
        assert raised[0] == "LockTimeout"

    def test_get_or_set(self, state: State) -> None:
        """A value that is computed from itself is an error at once, and not computed."""
        with pytest.raises(Deadlock, match="'a'.*make"):
            state.get_or_set("a", lambda: state.get_or_set("a", lambda: 1))
        assert state.get_or_set("a", lambda: state.get_or_set("b", lambda: 2)) == 2

    def test_update(self, state: State) -> None:
        """A change that always changes its own key is an error, and no endless loop."""

        def change(value: int) -> int:
            state.update("n", lambda inner: inner + 1, default=0)
            return value + 1

        with pytest.raises(Deadlock, match="'n'"):
            state.update("n", change, default=0)
        assert state.update("n", lambda value: -1) == -1
