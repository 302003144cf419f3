"""Every checker of numbers passes good histories and fails on the bad ones it is for."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from race.judging.checkers import (
    Increment,
    duplicates,
    exactly_one_to,
    gaps,
    out_of_bounds,
    real_time_violations,
)

IN_TURN = [Increment(1, 0, 1), Increment(2, 2, 3), Increment(3, 4, 5)]
ALL_AT_ONCE = [Increment(3, 0, 9), Increment(1, 0, 9), Increment(2, 0, 9)]


class TestNumbers:
    def test_every_number_once(self):
        """Each number from 1 to n once is accepted, in any order."""
        assert duplicates([3, 1, 2]) == []
        assert gaps([3, 1, 2], 3) == []
        assert exactly_one_to([3, 1, 2], 3)

    def test_number_given_twice(self):
        """A number that was given twice is found, and so is the one that is missing for it."""
        assert duplicates([1, 2, 2, 4, 4, 4]) == [2, 4]
        assert gaps([1, 2, 2, 4], 4) == [3]
        assert not exactly_one_to([1, 2, 2, 4], 4)

    def test_duplicate_with_the_right_total(self):
        """A counter that ends at n is not exact when two clients were told the same number."""
        numbers = [1, 2, 2, 4]
        assert max(numbers) == len(numbers)
        assert not exactly_one_to(numbers, 4)

    @pytest.mark.parametrize("numbers", [[0, 1, 2], [2, 3, 4], [1, 2], [1, 2, 3, 4], []])
    def test_other_numbers(self, numbers):
        """Numbers outside 1 to n, too few and too many are refused."""
        assert not exactly_one_to(numbers, 3)

    def test_unknown_may_be_missing(self):
        """As many numbers may be missing as increments got no response, and no more."""
        assert exactly_one_to([1, 2, 4], 4, unknown=1)
        assert exactly_one_to([1, 2, 3], 4, unknown=1)
        assert not exactly_one_to([1, 2], 4, unknown=1)
        assert not exactly_one_to([1, 2, 3], 3, unknown=1)

    def test_unknown_hides_no_duplicate(self):
        """An increment without a response excuses neither a duplicate nor a number beyond n."""
        assert not exactly_one_to([1, 2, 2], 4, unknown=1)
        assert not exactly_one_to([1, 2, 5], 4, unknown=1)


class TestRealTime:
    @pytest.mark.parametrize("history", [IN_TURN, ALL_AT_ONCE, []])
    def test_good(self, history):
        """Increments in turn get rising numbers; those that overlap get them in any order."""
        assert real_time_violations(history) == []
        assert out_of_bounds(history) == []

    def test_touching(self):
        """An increment that starts in the moment another ends may come before it."""
        assert real_time_violations([Increment(2, 0, 1), Increment(1, 1, 2)]) == []

    def test_inversion(self):
        """A later increment with a smaller number is found, with the largest before it."""
        first, other, late = Increment(3, 0, 1), Increment(1, 0, 1), Increment(2, 2, 3)
        assert real_time_violations([late, other, first]) == [(first, late)]

    def test_repeated(self):
        """A later increment with the same number is in the wrong order too."""
        first, late = Increment(1, 0, 1), Increment(1, 2, 3)
        assert real_time_violations([first, late]) == [(first, late)]

    def test_too_small(self):
        """Three increments that have ended leave no number below 4 to the next."""
        late = Increment(3, 6, 7)
        assert out_of_bounds([*IN_TURN, late]) == [late]

    def test_too_large(self):
        """The only increment so far cannot be the second, though a later one has no response."""
        early = Increment(2, 0, 1)
        history = [early, Increment(None, 2, 3)]
        assert exactly_one_to([2], 2, unknown=1)
        assert out_of_bounds(history) == [early]

    def test_unknown_widens(self):
        """An increment without a response may be counted or not, also long after it was sent."""
        lost = Increment(None, 0, 1)
        for number in (1, 2):
            assert out_of_bounds([lost, Increment(number, 2, 3)]) == []
        assert out_of_bounds([lost, Increment(3, 2, 3)]) == [Increment(3, 2, 3)]

    def test_finds_what_all_pairs_find(self):
        """An increment is named exactly when comparing all pairs finds it."""
        shuffled = random.Random(1)
        for _ in range(200):
            starts = [shuffled.randrange(20) for _ in range(12)]
            history = [
                Increment(shuffled.randrange(9), start, start + shuffled.randrange(6))
                for start in starts
            ]
            late = {
                b for a in history for b in history if a.ended < b.started and a.number >= b.number
            }
            assert {b for _, b in real_time_violations(history)} == late

    def test_many(self):
        """Fifty thousand increments are judged at once, not pair by pair."""
        history = [Increment(number, number, number + 50) for number in range(1, 50_001)]
        assert real_time_violations(history) == []
        assert out_of_bounds(history) == []


around = st.floats(0, 3, allow_nan=False)


@given(st.lists(st.tuples(around, around, st.booleans()), min_size=1, max_size=40))
def test_numbers_given_in_turn_are_exact(increments):
    """The counter's checkers accept what an exact counter returns, with and without a response."""
    history = [
        Increment(None if lost else number, number - before, number + after)
        for number, (before, after, lost) in enumerate(increments, 1)
    ]
    numbers = [increment.number for increment in history if increment.number is not None]
    assert exactly_one_to(numbers, len(history), unknown=len(history) - len(numbers))
    assert real_time_violations(history) == []
    assert out_of_bounds(history) == []
