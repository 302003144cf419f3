"""Histories of operations on one key that can have happened, and that cannot."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from torture.judging.key_model import LARGEST, MISSING, CompareAndSet, Inc, Raised, Update, one_key
from torture.judging.linearizability import Event, linearizable


def double(value: int | None) -> int:
    return 2 * (value or 0)


class TestModel:
    @pytest.mark.parametrize(
        ("state", "operation", "argument", "result", "after"),
        [
            (MISSING, "get", None, MISSING, MISSING),
            (None, "get", None, None, None),
            (1, "set", 2, True, 2),
            (MISSING, "add", 1, True, 1),
            (None, "add", 1, False, None),
            (None, "delete", None, True, MISSING),
            (MISSING, "delete", None, False, MISSING),
            (MISSING, "inc", Inc(), 1, 1),
            (MISSING, "inc", Inc(2, initial=5), 7, 7),
            (7, "inc", Inc(-2, initial=5), 5, 5),
            ("text", "inc", Inc(), Raised("NotACounter"), "text"),
            (True, "inc", Inc(), Raised("NotACounter"), True),
            (LARGEST, "inc", Inc(), Raised("OutOfBounds"), LARGEST),
            (9, "inc", Inc(maximum=9), Raised("OutOfBounds"), 9),
            (MISSING, "inc", Inc(-1, minimum=0), Raised("OutOfBounds"), MISSING),
            (MISSING, "update", Update(double, 2), 4, 4),
            (3, "update", Update(double, 2), 6, 6),
            (MISSING, "compare_and_set", CompareAndSet(MISSING, 1), True, 1),
            (2, "compare_and_set", CompareAndSet(MISSING, 1), False, 2),
            (2, "compare_and_set", CompareAndSet(2, 3), True, 3),
            (MISSING, "compare_and_set", CompareAndSet(None, 1), False, MISSING),
        ],
    )
    def test_contract(self, state, operation, argument, result, after):
        """The model returns what the contract of the stores says."""
        assert one_key(state, operation, argument) == (result, after)


def event(operation, argument, result, started, ended, process=0):
    return Event(process, operation, argument, result, started, ended)


GOOD = {
    "nothing": [],
    "in turn": [
        event("set", 1, True, 0, 1),
        event("inc", Inc(), 2, 2, 3),
        event("get", None, 2, 4, 5),
    ],
    "read beside a write: old, then new": [
        event("set", 1, True, 0, 9),
        event("get", None, MISSING, 1, 2),
        event("get", None, 1, 3, 4),
    ],
    "two winners of add, the key deleted between them": [
        event("add", 1, True, 0, 1),
        event("delete", None, True, 0, 9),
        event("add", 2, True, 2, 3),
    ],
    "increment without a response that counted": [
        event("inc", Inc(), None, 0, math.inf),
        event("get", None, MISSING, 1, 2),
        event("inc", Inc(), 2, 3, 4),
    ],
    "increment without a response that never counted": [
        event("inc", Inc(), None, 0, math.inf),
        event("inc", Inc(), 1, 1, 2),
        event("get", None, 1, 3, 4),
    ],
    "in the moment that the other ends, and before it": [
        event("inc", Inc(), 2, 0, 1),
        event("inc", Inc(), 1, 1, 2),
    ],
    "refused increments leave the value": [
        event("set", "text", True, 0, 1),
        event("inc", Inc(), Raised("NotACounter"), 2, 3),
        event("get", None, "text", 4, 5),
    ],
}

BAD = {
    "lost update": [
        event("set", 1, True, 0, 1),
        event("update", Update(double), 2, 2, 5),
        event("update", Update(double), 2, 3, 6),
        event("get", None, 2, 7, 8),
    ],
    "lost update behind responses that look right": [
        event("inc", Inc(), 1, 0, 3),
        event("inc", Inc(), 2, 0, 3),
        event("get", None, 1, 4, 5),
    ],
    "number given twice, right total": [
        event("inc", Inc(), 2, 0, 3),
        event("inc", Inc(), 2, 0, 3),
        event("get", None, 2, 4, 5),
    ],
    "stale read": [
        event("set", 1, True, 0, 1),
        event("set", 2, True, 2, 3),
        event("get", None, 1, 4, 5),
    ],
    "new value, then the old one again": [
        event("set", 1, True, 0, 9),
        event("get", None, 1, 1, 2),
        event("get", None, MISSING, 3, 4),
    ],
    "real-time inversion": [
        event("inc", Inc(), 2, 0, 1),
        event("inc", Inc(), 1, 2, 3),
    ],
    "increment without a response counted twice": [
        event("inc", Inc(), None, 0, math.inf),
        event("inc", Inc(), 3, 1, 2),
    ],
    "increment without a response counted before it was sent": [
        event("get", None, 1, 0, 1),
        event("inc", Inc(), None, 2, math.inf),
    ],
    "two winners of add": [
        event("add", 1, True, 0, 3),
        event("add", 2, True, 0, 3),
    ],
    "two winners of compare_and_set": [
        event("set", 0, True, 0, 1),
        event("compare_and_set", CompareAndSet(0, 1), True, 2, 5),
        event("compare_and_set", CompareAndSet(0, 2), True, 2, 5),
    ],
    "deleted twice": [
        event("set", 1, True, 0, 1),
        event("delete", None, True, 2, 5),
        event("delete", None, True, 2, 5),
    ],
    "refused though in bounds": [
        event("inc", Inc(maximum=1), Raised("OutOfBounds"), 0, 1),
    ],
}


class TestLinearizable:
    @pytest.mark.parametrize("history", GOOD.values(), ids=GOOD)
    def test_good(self, history):
        """What can have happened one at a time is accepted."""
        assert linearizable(history, one_key)

    @pytest.mark.parametrize("history", BAD.values(), ids=BAD)
    def test_bad(self, history):
        """What cannot have happened one at a time is refused, in whatever order it is given."""
        assert not linearizable(history, one_key)
        assert not linearizable(reversed(history), one_key)

    def test_initial(self):
        """The key may have a value before the first operation."""
        history = [event("inc", Inc(), 8, 0, 1)]
        assert linearizable(history, one_key, initial=7)
        assert not linearizable(history, one_key)

    @pytest.mark.parametrize("wrong", [False, True])
    def test_eight_at_once(self, wrong):
        """Sixty operations, eight at any time, are judged in so many steps as take a second."""
        history = [event("set", n, True, n, n + 7.5) for n in range(59)]
        history.append(event("get", None, 0 if wrong else 58, 100, 101))
        assert linearizable(history, one_key, limit=300_000) is not wrong


values = st.integers(0, 2)
steps = st.one_of(
    st.just(("get", None)),
    st.tuples(st.just("set"), values),
    st.tuples(st.just("add"), values),
    st.just(("delete", None)),
    st.tuples(st.just("inc"), st.builds(Inc, delta=st.integers(-2, 2), maximum=st.just(3))),
    st.just(("update", Update(double, 1))),
    st.tuples(st.just("compare_and_set"), st.builds(CompareAndSet, values, values)),
)
around = st.floats(0, 3, allow_nan=False)


@given(st.lists(st.tuples(steps, around, around, st.booleans()), max_size=40))
@settings(deadline=None)
def test_what_happened_in_turn_is_linearizable(operations):
    """Operations that took effect one at a time are accepted, however their calls overlapped."""
    state, history = MISSING, []
    for moment, ((operation, argument), before, after, lost) in enumerate(operations):
        result, state = one_key(state, operation, argument)
        ended = math.inf if lost and moment % 8 == 0 else moment + after
        history.append(event(operation, argument, result, moment - before, ended))
    assert linearizable(history, one_key)
