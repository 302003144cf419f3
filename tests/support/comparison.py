"""Hypothesis holds every store against a dictionary: the same calls, the same answers."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from backends import Clock, about
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    rule,
)

from sharedstate import ABSENT, NotACounter, OutOfBounds, State

MAX, MIN = 2**63 - 1, -(2**63)

NAMES = ["a", "ab", "b/%*", "ä"]
KEYS = st.sampled_from(NAMES)
PREFIXES = st.sampled_from(["", "a", "ab", "b/%", "*", "ä", "x"])
VALUES = st.sampled_from(
    [*(None, True, False, 0, 1, -1, 7, MAX, MAX - 1, MIN, 2**63), *("7", "", 1.0, [1], {"a": None})]
)
NUMBERS = st.sampled_from([0, 1, -1, 2, 10, -10, 2**53 + 1, MAX, MIN])
BOUNDS = st.none() | NUMBERS
# Time moves by tens and timeouts end between them: nothing depends on what ends at the same moment.
TIMEOUTS = st.sampled_from([None, 0, 5, 25, 105, 1005])
STEPS = st.sampled_from([10, 20, 100, 1000])


class Model:
    """What a state does, for one caller: a dictionary of values and when they end."""

    def __init__(self) -> None:
        self.now = 0.0
        self.entries: dict[str, tuple[Any, float]] = {}

    def live(self) -> dict[str, tuple[Any, float]]:
        self.entries = {key: entry for key, entry in self.entries.items() if entry[1] > self.now}
        return self.entries

    def end(self, timeout: float | None) -> float:
        return self.now + timeout if timeout else float("inf")

    def get(self, key: str, default: Any = None) -> Any:
        return self.live().get(key, (default,))[0]

    def has(self, key: str) -> bool:
        return key in self.live()

    def ttl(self, key: str) -> float | None:
        if not self.has(key):
            return None
        end = self.entries[key][1]
        return 0 if end == float("inf") else end - self.now

    def set(self, key: str, value: Any, timeout: float | None = None) -> bool:
        self.entries[key] = value, self.end(timeout)
        return True

    def add(self, key: str, value: Any, timeout: float | None) -> bool:
        return not self.has(key) and self.set(key, value, timeout)

    def exchange(self, key: str, value: Any, timeout: float | None, default: Any) -> Any:
        old = self.get(key, default)
        self.set(key, value, timeout)
        return old

    def delete(self, key: str) -> bool:
        return self.live().pop(key, None) is not None

    def touch(self, key: str, timeout: float | None) -> bool:
        return self.has(key) and self.set(key, self.get(key), timeout)

    def inc(
        self,
        key: str,
        delta: int,
        *,
        initial: int = 0,
        timeout: float | None = None,
        minimum: int | None = None,
        maximum: int | None = None,
    ) -> int:
        number, end = self.live().get(key, (initial, self.end(timeout)))
        if type(number) is not int or not MIN <= number <= MAX:
            raise NotACounter
        number += delta
        lowest = MIN if minimum is None else minimum
        highest = MAX if maximum is None else maximum
        if not lowest <= number <= highest:
            raise OutOfBounds(lowest, highest)
        self.entries[key] = number, end
        return number

    def inc_many(self, deltas: dict[str, int], **options: Any) -> dict[str, int]:
        before = self.live().copy()
        try:
            return {key: self.inc(key, delta, **options) for key, delta in deltas.items()}
        except (NotACounter, OutOfBounds):
            self.entries = before
            raise

    def replace(self, key: str, value: Any) -> None:
        end = self.entries.get(key, (None, self.end(None)))[1]
        self.entries[key] = value, end
        if value is ABSENT:
            del self.entries[key]

    def update(self, key: str, change: Callable[[Any], Any], default: Any) -> Any:
        value = change(self.get(key, default))
        self.replace(key, value)
        return value

    def compare_and_set(self, key: str, expected: Any, value: Any) -> bool:
        equal = self.get(key, ABSENT) == expected
        if equal:
            self.replace(key, value)
        return equal

    def set_many(self, values: dict[str, Any], timeout: float | None) -> list[str]:
        return [key for key, value in values.items() if self.set(key, value, timeout)]

    def delete_many(self, *keys: str) -> list[str]:
        return [key for key in keys if self.delete(key)]

    def keys(self, prefix: str) -> list[str]:
        return [key for key in self.live() if key.startswith(prefix)]

    def clear(self) -> bool:
        self.entries = {}
        return True


def remove(value: Any) -> Any:
    return ABSENT


def fail(value: Any) -> Any:
    raise ZeroDivisionError


def wrap(value: Any) -> Any:
    return repr(value)[:10]


def outcome(operation: Callable[..., Any], *args: Any, **options: Any) -> tuple[type, Any]:
    """The answer with its type, as True equals 1, or the error that came instead."""
    try:
        answer = operation(*args, **options)
    except (NotACounter, OutOfBounds, ZeroDivisionError) as error:
        # The model has no batches to be a step of, and does not name its keys.
        return type(error), {**vars(error), "step": None, "key": None}
    return type(answer), answer


class Comparison(RuleBasedStateMachine):
    """Does the same to a state and to the model, and compares the results and what is stored."""

    def __init__(self, state: State, clock: Clock) -> None:
        super().__init__()
        self.state = state
        self.clock = clock
        self.model = Model()

    def teardown(self) -> None:
        self.state.clear()

    def both(self, name: str, *args: Any, **options: Any) -> None:
        expected = outcome(getattr(self.model, name), *copy.deepcopy(args), **options)
        assert outcome(getattr(self.state, name), *args, **options) == expected

    @invariant()
    def holds_the_same(self) -> None:
        found = [(type(value), value) for value in self.state.get_many(*NAMES)]
        assert found == [(type(value), value) for value in map(self.model.get, NAMES)]

    @rule(seconds=STEPS)
    def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.model.now += seconds

    @rule(key=KEYS)
    def look(self, key: str) -> None:
        self.both("get", key, ABSENT)
        self.both("has", key)
        left = self.model.ttl(key)
        assert self.state.ttl(key) == (about(left) if left else left)

    @rule(key=KEYS, value=VALUES, timeout=TIMEOUTS)
    def set(self, key: str, value: Any, timeout: float | None) -> None:
        self.both("set", key, value, timeout)

    @rule(key=KEYS, value=VALUES, timeout=TIMEOUTS)
    def add(self, key: str, value: Any, timeout: float | None) -> None:
        self.both("add", key, value, timeout)

    @rule(key=KEYS, value=VALUES, timeout=TIMEOUTS, default=st.sampled_from([None, "default"]))
    def exchange(self, key: str, value: Any, timeout: float | None, default: Any) -> None:
        self.both("exchange", key, value, timeout, default)

    @rule(key=KEYS)
    def delete(self, key: str) -> None:
        self.both("delete", key)

    @rule(key=KEYS, timeout=TIMEOUTS)
    def touch(self, key: str, timeout: float | None) -> None:
        self.both("touch", key, timeout)

    @rule(key=KEYS, delta=NUMBERS)
    def count(self, key: str, delta: int) -> None:
        self.both("inc", key, delta)

    @rule(
        key=KEYS, delta=NUMBERS, initial=NUMBERS, timeout=TIMEOUTS, minimum=BOUNDS, maximum=BOUNDS
    )
    def inc(self, key: str, delta: int, **options: Any) -> None:
        self.both("inc", key, delta, **options)

    @rule(
        deltas=st.dictionaries(KEYS, NUMBERS),
        initial=NUMBERS,
        timeout=TIMEOUTS,
        minimum=BOUNDS,
        maximum=BOUNDS,
    )
    def inc_many(self, deltas: dict[str, int], **options: Any) -> None:
        self.both("inc_many", deltas, **options)

    @rule(key=KEYS, change=st.sampled_from([wrap, remove, fail]), default=VALUES | st.just(ABSENT))
    def update(self, key: str, change: Callable[[Any], Any], default: Any) -> None:
        self.both("update", key, change, default=default)

    @rule(key=KEYS, expected=VALUES | st.just(ABSENT), value=VALUES | st.just(ABSENT))
    def compare_and_set(self, key: str, expected: Any, value: Any) -> None:
        self.both("compare_and_set", key, expected, value)

    @rule(key=KEYS, value=VALUES | st.just(ABSENT))
    def compare_and_set_present(self, key: str, value: Any) -> None:
        self.both("compare_and_set", key, self.model.get(key, ABSENT), value)

    @rule(values=st.dictionaries(KEYS, VALUES), timeout=TIMEOUTS)
    def set_many(self, values: dict[str, Any], timeout: float | None) -> None:
        self.both("set_many", values, timeout)

    @rule(keys=st.lists(KEYS, max_size=4))
    def delete_many(self, keys: list[str]) -> None:
        self.both("delete_many", *keys)

    @rule(prefix=PREFIXES)
    def keys(self, prefix: str) -> None:
        assert sorted(self.state.keys(prefix)) == sorted(self.model.keys(prefix))

    @rule()
    def clear(self) -> None:
        self.both("clear")
