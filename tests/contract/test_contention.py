"""Who loses a value's swaps to others gets it in the order of coming."""

# ruff: noqa: F811  # the fixtures that are imported are arguments of the tests

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from backends import ONE_OF_EACH_KIND
from waiters import Time, patient, record, waiting  # noqa: F401  # fixtures

from sharedstate import State, StoreUnavailable
from sharedstate.codec import TEXTS
from sharedstate.locks import contention, fairness
from sharedstate.stores.operations import Swap


@ONE_OF_EACH_KIND
class TestUpdate:
    def test_queue(self, state: State, waiting: Time) -> None:
        """Who loses to others and is late gets into a queue, and others step back."""
        runs = []

        def change(value: int) -> int:
            seconds = state.namespace("contention", TEXTS).ttl("n")
            runs.append(seconds is not None and 0 < seconds <= contention.LEASE_SECONDS)
            waiting.now += 0.02
            if len(runs) < 4:
                state.set("n", 10 * len(runs))
            return value + 1

        assert state.update("n", change, default=0) == 31
        assert runs == [False, False, True, True]
        assert record(state, "n", "contention") == []

    def test_winner_steps_back(self, state: State, waiting: Time) -> None:
        """Who changes a value over and over waits once another one is in its queue."""
        queues = state.namespace("contention", TEXTS)

        def change(value: int) -> int:
            waiting.now += 0.02
            return value + 1

        state.update("n", change, default=0)
        queues.set("n", "other", 30)
        state.update("n", change)
        assert state.get("n") == 2
        joined = []

        def asleep() -> None:
            if len(words := record(state, "n", "contention")) == 2:
                joined.append(words)
                queues.delete("n")

        waiting.asleep = asleep
        assert state.update("n", change) == 3
        assert [words[0] for words in joined] == ["other"]
        assert record(state, "n", "contention") == []

    def test_time_slice(self, state: State, waiting: Time) -> None:
        """Who is handed a value changes it again in its time slice, then lets in the next."""
        queues = state.namespace("contention", TEXTS)

        def contended(value: int) -> int:
            queues.set("n", f"{record(state, 'n', 'contention')[0]} other", 30)
            return value + 1

        def longer(value: int) -> int:
            waiting.now += 2 * fairness.SLICE_SECONDS
            return value + 1

        state._contended()._remember("n")  # As one does who has waited in the queue before.
        assert state.update("n", contended, default=0) == 1
        mark, *others = record(state, "n", "contention")
        assert (mark[0], others) == ("~", ["other"])
        assert state.update("n", lambda value: value + 1) == 2
        assert record(state, "n", "contention") == [mark, "other"]
        assert state.update("n", longer) == 3
        assert record(state, "n", "contention") == ["~", "other"]

    def test_costs_nothing(
        self, state: State, waiting: Time, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Alone, an update is one reading and one swap, at whatever pace they come."""
        done = []
        values, transact = state.store.values, state.store.transact

        def reading(keys: Any) -> Any:
            done.append("values")
            return values(keys)

        def writing(keys: Any, operation: Any) -> Any:
            done.append(type(operation).__name__)
            return transact(keys, operation)

        monkeypatch.setattr(state.store, "values", reading)
        monkeypatch.setattr(state.store, "transact", writing)
        for pause in (0, 0, 0, 0.05, 0.05, 0.05):
            waiting.now += pause
            state.update("n", lambda value: value + 1, default=0)
        assert done == ["values", "Swap"] * 6

    def test_queue_is_no_condition(
        self, state: State, waiting: Time, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A value changes although its queue has no room, and though that cannot be left."""
        lost: list[int] = []

        def change(value: int) -> int:
            if len(lost) % 3 < 2:
                lost.append(value)
                waiting.now += 0.02
                state.set("n", value + 1)
            return value + 1

        def failing(keys: Any, operation: Any) -> Any:
            if b"contention" in keys[0] and type(operation) is Swap:
                raise StoreUnavailable("gone")
            return transact(keys, operation)

        small = State(state.store, prefix=state.key_prefix, max_value_bytes=20)
        assert small.update("n", change, default=0) == 3
        lost.clear()
        transact = state.store.transact
        monkeypatch.setattr(state.store, "transact", failing)
        assert state.update("n", change) == 6

    def test_change_that_was_made(
        self, state: State, waiting: Time, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A change that was made is no error, though the store fails when the queue is seen to."""
        store, gone = state.store, StoreUnavailable("gone")
        values, transact, hits = store.values, store.transact, []
        queues = state.namespace("contention", TEXTS)

        def failing(real: Callable[..., Any]) -> Callable[..., Any]:
            def call(keys: Any, *arguments: Any) -> Any:
                if b"contention" in keys[0]:
                    hits.append(real.__name__)
                    raise gone
                return real(keys, *arguments)

            return call

        def change(value: int) -> int:
            waiting.now += 2 * fairness.SLICE_SECONDS
            return value + 1

        def contended(value: int) -> int:
            queues.set("n", f"{record(state, 'n', 'contention')[0]} other", 30)
            return value + 1

        monkeypatch.setattr(store, "values", failing(values))
        assert [state.update("n", change, default=0) for _ in range(2)] == [1, 2]
        monkeypatch.setattr(store, "values", values)
        state._contended()._remember("n")
        assert state.update("n", contended) == 3
        monkeypatch.setattr(store, "transact", failing(transact))
        assert state.update("n", change) == 4
        assert hits == ["values", "transact"]

    def test_dead_holder(self, state: State, waiting: Time, clock: Any) -> None:
        """One who dies at the head of the queue keeps nobody from changing the value for long."""
        state.set("n", 1)
        assert fairness.Record(state.namespace("contention", TEXTS).keyspace, "n").take(
            "dead", contention.LEASE_SECONDS, 0
        )
        lost = []

        def change(value: int) -> int:
            if len(lost) < 2:
                lost.append(value)
                waiting.now += 0.02
                state.set("n", value + 1)
            return value + 1

        waiting.asleep = lambda: waiting.now > 1000.1 and clock.advance(61)
        assert state.update("n", change) == 4
        assert waiting.now < 1010

    def test_nobody_has_to_hold_the_lock(self, state: State, waiting: Time) -> None:
        """A value changes although another one holds the lock of its queue for ever."""
        state.set("n", 1)
        state.namespace("contention", TEXTS).set("n", "other", 0)
        lost = []

        def change(value: int) -> int:
            if len(lost) < 2:
                lost.append(value)
                waiting.now += 0.02
                state.set("n", value + 1)
            return value + 1

        assert state.update("n", change) == 4
