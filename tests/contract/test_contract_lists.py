"""Lists on every store: append and extend, and the bound of their length."""

from __future__ import annotations

from typing import Any

import pytest
from backends import IN_THE_STATE, ONE_OF_EACH_KIND, Clock, about

from sharedstate import ABSENT, State, ValueTooLarge


class TestAppend:
    def test_appends(self, state: State, json_state: State) -> None:
        """Values come to the end, and the result is the number of items."""
        for each in (state, json_state):
            assert [each.append("log", "a"), each.append("log", "b", "c")] == [1, 3]
            assert each.extend("log", iter(["d", ["e"], None])) == 6
            assert each.get("log") == ["a", "b", "c", "d", ["e"], None]

    def test_limit(self, state: State) -> None:
        """The last items stay."""
        assert [state.append("log", n, limit=3) for n in range(5)] == [1, 2, 3, 3, 3]
        assert state.get("log") == [2, 3, 4]
        assert state.extend("log", range(10, 20), limit=2) == 2
        assert state.get("log") == [18, 19]
        assert state.append("log", "a", "b") == 4
        assert state.append("log", limit=1) == 1
        assert state.get("log") == ["b"]

    def test_nothing(self, state: State) -> None:
        """Without values nothing is made, nor changed."""
        assert state.extend("log", []) == 0
        assert not state.has("log")
        state.append("log", 1)
        assert (state.append("log"), state.append("log", limit=5)) == (1, 1)

    def test_time(self, state: State, clock: Clock) -> None:
        """A list expires after its own timeout, or that of the state, which later calls keep."""
        state.append("log", 1, timeout=100)
        state.append("log", 2, timeout=1000)
        assert state.ttl("log") == about(100)
        clock.advance(110)
        assert state.append("log", 3) == 1
        assert state.ttl("log") == 0
        by_default = State(state.store, default_timeout=50)
        by_default.append("other", 1)
        assert by_default.ttl("other") == about(50)

    @ONE_OF_EACH_KIND
    def test_others_come_between(self, state: State, monkeypatch: pytest.MonkeyPatch) -> None:
        """What another appends between the look and the write stays."""
        values, looks = state.store.values, []

        def look(keys: Any) -> Any:
            found = values(keys)
            looks.append(keys)
            if len(looks) == 1:
                state.append("log", "theirs")
            return found

        monkeypatch.setattr(state.store, "values", look)
        assert state.extend("log", iter(["ours"])) == 2
        assert state.get("log") == ["theirs", "ours"]


@IN_THE_STATE
class TestRefused:
    def test_no_list(self, state: State) -> None:
        """What is no list stays, also where nothing would be added."""
        for value in ("text", (1, 2), {"a": 1}, 5, None):
            state.set("key", value)
            for values in ((), (1,)):
                with pytest.raises(TypeError, match="'key' holds a .*, not a list"):
                    state.append("key", *values)
            assert state.get("key") == value

    def test_too_large(self, store: Any) -> None:
        """A list that would be too long for a value stays as it is."""
        state = State(store, max_value_bytes=200)
        state.append("log", "x" * 100)
        with pytest.raises(ValueTooLarge, match="'log'"):
            state.append("log", "x" * 100)
        assert state.get("log", ABSENT) == ["x" * 100]

    def test_wrong_limit(self, state: State) -> None:
        """A limit is an integer from 1."""
        for limit, error in ((0, ValueError), (-1, ValueError), (1.0, TypeError)):
            with pytest.raises(error, match="limit"):
                state.append("log", 1, limit=limit)
        assert not state.has("log")
