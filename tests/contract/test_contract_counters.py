"""Counters on every store: inc and dec, their bounds, what is no counter, and once."""

from decimal import Decimal
from fractions import Fraction
from itertools import cycle

import pytest
from backends import IN_THE_STATE, about

from sharedstate import NotACounter, OutOfBounds, State
from sharedstate.codec import JSONCodec, PickleCodec

MAX, MIN = 2**63 - 1, -(2**63)
NO_COUNTERS = [
    *("text", "", "12", "1_000", " 1", 1.0, 1.5, True, False, None, [], [1], {"a": 1}),
    *(2**63, MIN - 1, 2**70, -(2**70), 10**30),
]


class TestInc:
    def test_counts(self, state):
        """A missing counter starts from 0, and each call returns the next number."""
        assert [state.inc("hits") for _ in range(5)] == [1, 2, 3, 4, 5]
        assert state.get("hits") == 5
        assert type(state.get("hits")) is int

    def test_delta(self, state):
        """Any delta is added, a negative one and 0 too."""
        deltas = [10, -3, 0, -20, 100]
        assert [state.inc("hits", delta) for delta in deltas] == [10, 7, 7, -13, 87]

    def test_dec(self, state):
        """A dec subtracts its delta, 1 unless told, and goes below 0."""
        assert [state.dec("hits"), state.dec("hits", 5), state.dec("hits", -10)] == [-1, -6, 4]

    def test_zero_creates(self, state):
        """A delta of 0 creates a counter that is missing."""
        assert state.inc("hits", 0) == 0
        assert state.has("hits")

    def test_of_a_set_value(self, state, json_state):
        """An integer that was set is a counter, with either codec, to the last digit."""
        for number in [0, 5, -5, 2**53 + 1, -(2**53) - 1, MAX - 1, MIN]:
            for each in (state, json_state):
                each.set("hits", number)
                assert each.inc("hits") == number + 1
                assert each.get("hits") == number + 1

    def test_codecs_share_counters(self, store):
        """A counter is the same for states of either codec."""
        one, other = State(store, codec=PickleCodec()), State(store, codec=JSONCodec())
        assert (one.inc("hits"), other.inc("hits"), one.inc("hits")) == (1, 2, 3)
        assert one.get("hits") == other.get("hits") == 3

    def test_initial(self, state):
        """A missing counter starts from `initial`, a present one goes on."""
        assert state.inc("hits", 5, initial=100) == 105
        assert state.inc("hits", 5, initial=100) == 110
        assert state.dec("stock", initial=10) == 9
        assert state.inc("negative", initial=-10) == -9

    def test_expired(self, state, clock):
        """A counter that has expired begins anew."""
        state.inc("hits", 5, timeout=100)
        clock.advance(110)
        assert state.inc("hits", initial=10) == 11
        assert state.ttl("hits") == 0

    def test_keeps_expiry(self, state, clock):
        """An increment keeps the expiry, whatever its own timeout: that is for creation."""
        state.set("hits", 1, timeout=100)
        clock.advance(40)
        state.inc("hits")
        state.inc("hits", timeout=1000)
        state.inc("hits", maximum=100)
        assert state.ttl("hits") == about(60)
        clock.advance(70)
        assert state.get("hits") is None

    def test_keeps_never(self, state):
        """An increment with a timeout leaves a counter that stays for good as it is."""
        state.inc("hits")
        assert state.inc("hits", timeout=100) == 2
        assert state.inc("hits", timeout=100, minimum=0) == 3
        assert state.ttl("hits") == 0

    def test_many_counters(self, state):
        """Counters count each for itself."""
        for i in range(100):
            assert state.inc(f"hits{i % 10}") == i // 10 + 1

    @IN_THE_STATE
    def test_wrong_arguments(self, state):
        """What is not a signed 64-bit integer is refused, and nothing is stored."""
        for name in ["delta", "initial", "minimum", "maximum"]:
            for number in [1.0, True, "1", 2**63, MIN - 1]:
                error = TypeError if type(number) is not int else ValueError
                with pytest.raises(error, match=name):
                    state.inc("hits", **{name: number})
                assert not state.has("hits")

    @IN_THE_STATE
    def test_wrong_dec(self, state):
        """A dec by what is no integer is refused, and nothing is stored."""
        for number in [1.0, "1", False, None]:
            with pytest.raises(TypeError, match="delta"):
                state.dec("hits", number)
            assert not state.has("hits")


class TestBounds:
    def test_maximum(self, state):
        """The maximum itself is reached; one more is refused, and the counter stays."""
        assert [state.inc("hits", maximum=3) for _ in range(3)] == [1, 2, 3]
        with pytest.raises(OutOfBounds):
            state.inc("hits", maximum=3)
        assert state.get("hits") == 3
        assert state.inc("hits", maximum=4) == 4

    def test_minimum(self, state):
        """The minimum itself is reached; one less is refused, and the counter stays."""
        state.set("stock", 2)
        assert [state.dec("stock", minimum=0) for _ in range(2)] == [1, 0]
        with pytest.raises(OutOfBounds):
            state.dec("stock", minimum=0)
        assert state.get("stock") == 0

    def test_refused(self, state):
        """A number outside either bound is refused with the bounds, and value and expiry stay."""
        for present, delta, minimum, maximum in [
            *((5, 6, None, 10), (5, -6, 0, None), (-5, 6, None, 0), (-5, -6, -10, None)),
            *((-100, 50, -20, 20), (9, 1, None, 9), (10, 0, 11, None), (99, 1, None, 99)),
            *((100, -1, 100, None), (-9, -1, -9, None), (1, 1, 5, 2), (2, 0, None, 1)),
            *((2**53, 1, None, 2**53), (MAX - 1, 1, None, MAX - 1), (MIN + 1, -1, MIN + 1, None)),
        ]:
            state.set("hits", present, timeout=100)
            with pytest.raises(OutOfBounds) as caught:
                state.inc("hits", delta, minimum=minimum, maximum=maximum)
            assert caught.value.minimum == (MIN if minimum is None else minimum)
            assert caught.value.maximum == (MAX if maximum is None else maximum)
            assert state.get("hits") == present
            assert state.ttl("hits") == about(100)
            state.set("hits", present)  # Some stores do one that stays in another way.
            with pytest.raises(OutOfBounds):
                state.inc("hits", delta, minimum=minimum, maximum=maximum)
            assert state.get("hits") == present

    def test_reached(self, state):
        """A number on a bound or between them is stored."""
        for present, delta, minimum, maximum in [
            *((9, 1, None, 10), (10, -1, 9, None), (-1, 1, 0, 0), (0, 0, 0, 0)),
            *((-9, -1, -10, -10), (99, 1, 2, 100), (1000, -1, -5, 5000), (-11, 2, -9, 9)),
            *((2**53, 1, None, 2**53 + 1), (MAX - 1, 1, MAX, MAX), (MIN + 1, -1, MIN, MIN)),
        ]:
            state.set("hits", present)
            assert state.inc("hits", delta, minimum=minimum, maximum=maximum) == present + delta
            assert state.get("hits") == present + delta

    def test_missing(self, state):
        """A counter that would begin out of bounds is not created."""
        for options in ({"maximum": 0}, {"minimum": 2}, {"initial": 10, "maximum": 10}):
            with pytest.raises(OutOfBounds):
                state.inc("hits", timeout=100, **options)
            assert not state.has("hits")

    def test_upper_end(self, state):
        """A counter at 2**63 - 1 goes no further, by 1 or by as much again; it stays."""
        for bounds in [{}, {"minimum": -5}, {"maximum": MAX}]:
            state.set("hits", MAX - 1, timeout=100)
            assert state.inc("hits", **bounds) == MAX
            for delta in (1, MAX):
                with pytest.raises(OutOfBounds):
                    state.inc("hits", delta, **bounds)
            assert state.get("hits") == MAX
            assert state.ttl("hits") == about(100)
            assert state.dec("hits") == MAX - 1

    def test_lower_end(self, state):
        """A counter at -2**63 goes no further, by 1 or by as much again; it stays."""
        for bounds in [{}, {"maximum": 5}, {"minimum": MIN}]:
            state.set("hits", MIN + 1, timeout=100)
            assert state.dec("hits", **bounds) == MIN
            for delta in (-1, MIN):
                with pytest.raises(OutOfBounds):
                    state.inc("hits", delta, **bounds)
            assert state.get("hits") == MIN
            assert state.ttl("hits") == about(100)
            assert state.inc("hits") == MIN + 1

    def test_from_end_to_end(self, state):
        """One delta may lead from one end nearly to the other."""
        state.set("hits", MIN)
        assert state.inc("hits", MAX) == -1
        assert state.inc("hits", MIN + 1) == MIN
        assert state.inc("other", MAX, initial=MIN) == -1

    def test_initial_at_the_end(self, state):
        """An initial value with a sum past the end creates nothing."""
        with pytest.raises(OutOfBounds):
            state.inc("hits", initial=MAX)
        with pytest.raises(OutOfBounds):
            state.dec("hits", initial=MIN)
        assert not state.has("hits")


class TestSaturated:
    """What inc_saturated makes of a counter."""

    def test_stops(self, state):
        """It goes as far as the bounds allow, and says how far that was."""
        bounds = {"minimum": 0, "maximum": 10}
        found = [state.inc_saturated("stock", delta, **bounds) for delta in (7, 7, 1, -4, -7, -1)]
        assert found == [(7, 7), (10, 3), (10, 0), (6, -4), (0, -6), (0, 0)]
        assert state.get("stock") == 0
        assert state.inc("stock") == 1

    def test_sixty_four_bits(self, state):
        """A counter is a signed 64-bit integer in any case."""
        assert state.inc_saturated("high", 10, initial=MAX - 3) == (MAX, 3)
        assert state.inc_saturated("low", -10, initial=MIN + 3) == (MIN, -3)

    def test_beyond(self, state):
        """What is beyond a bound goes no further, and comes back."""
        state.set("stock", 20)
        assert state.inc_saturated("stock", 5, maximum=10) == (20, 0)
        assert state.inc_saturated("stock", -5, maximum=10) == (15, -5)
        assert state.inc_saturated("stock", -50, minimum=30) == (15, 0)

    def test_creates(self, state):
        """A missing counter starts from `initial` and expires; one that is there keeps its time."""
        assert state.inc_saturated("new", 5, initial=8, maximum=10, timeout=100) == (10, 2)
        assert state.ttl("new") == about(100)
        assert state.inc_saturated("new", -1, timeout=5) == (9, -1)
        assert state.ttl("new") == about(100)
        assert state.inc_saturated("zero", 0) == (0, 0)
        assert state.has("zero")

    def test_no_counter(self, state):
        """What is no counter stays."""
        state.set("key", "text")
        with pytest.raises(NotACounter, match="the key 'key'"):
            state.inc_saturated("key")
        assert state.get("key") == "text"

    def test_others_come_between(self, state, monkeypatch):
        """What another adds between the look and the write counts."""
        values, looks = state.store.values, []

        def look(keys):
            found = values(keys)
            looks.append(keys)
            if len(looks) == 1:
                state.inc("stock", 4)
            return found

        monkeypatch.setattr(state.store, "values", look)
        assert state.inc_saturated("stock", 8, maximum=10) == (10, 6)


@IN_THE_STATE
@pytest.mark.parametrize("number", [0.1, 1.0, Decimal("0.1"), Fraction(1, 3)])
def test_fractions(state, number):
    """A fraction is refused with what to do about it, in place of each number."""
    for name in ("delta", "initial", "minimum", "maximum"):
        for count in (state.inc, state.dec, state.inc_saturated):
            with pytest.raises(TypeError, match=rf"{name} must be an int.*cents.*update\(\)"):
                count("key", **{name: number})
    assert not state.has("key")


class TestNotACounter:
    def test_stays(self, state, json_state):
        """What is no signed 64-bit integer is not counted, with either codec; all of it stays."""
        others = cycle([{"delta": 0}, {"delta": -1}, {"maximum": 10}, {"initial": 5}])
        for value in NO_COUNTERS:
            for each in (state, json_state):
                each.set("key", value, timeout=100)
                for options in ({}, next(others)):
                    with pytest.raises(NotACounter):
                        each.inc("key", **options)
                found = each.get("key")
                assert (type(found), found) == (type(value), value)
                assert each.ttl("key") == about(100)

    def test_pickled(self, state):
        """No Python object but an int is a counter."""
        for value in [b"12", b"", (1,), 1 + 0j]:
            state.set("key", value)
            with pytest.raises(NotACounter):
                state.inc("key")
            assert state.get("key") == value

    def test_empty_of_value(self, state):
        """A key whose value was removed is a missing counter again."""
        state.set("key", "text")
        state.delete("key")
        assert state.inc("key") == 1
