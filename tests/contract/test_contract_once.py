"""Increments with a token are applied once, on every store."""

import pytest
from backends import IN_THE_STATE, about

from sharedstate import InvalidKey, NotACounter, OutOfBounds, State, TokenReused
from sharedstate.stores.memory import MemoryStore

MAX, MIN = 2**63 - 1, -(2**63)
DAY = 24 * 3600


@pytest.mark.needs("once")
class TestOnce:
    def test_repeated(self, state):
        """The first call applies the increment, and every repeat returns what it did."""
        assert [state.inc("hits", 5, once="token") for _ in range(3)] == [5, 5, 5]
        assert state.get("hits") == 5

    def test_repeated_later(self, state):
        """A repeat returns the first number even if the counter has gone on, or is gone."""
        assert state.inc("hits", once="token") == 1
        assert state.inc("hits") == 2
        assert state.inc("hits", once="token") == 1
        state.delete("hits")
        assert state.inc("hits", once="token") == 1
        assert not state.has("hits")
        state.set("hits", "text")
        assert state.inc("hits", once="token") == 1

    def test_tokens_are_apart(self, state):
        """Another token is another increment."""
        assert [state.inc("hits", once=token) for token in "abab"] == [1, 2, 1, 2]

    def test_dec(self, state):
        """A dec can have a token; it is an increment by the opposite."""
        assert state.dec("hits", 5, once="token") == -5
        assert state.inc("hits", -5, once="token") == -5
        assert state.get("hits") == -5

    def test_big_numbers(self, state):
        """A repeat returns numbers near both ends of 64 bits to the last digit."""
        for end, delta in ((MAX, -1), (MIN, 1)):
            state.set("hits", end)
            for _ in range(2):
                assert state.inc("hits", delta, once=f"token{end}") == end + delta

    def test_with_options(self, state):
        """Initial value, bounds and timeout hold for the call that applies."""
        for _ in range(2):
            number = state.inc("hits", 2, initial=5, maximum=7, timeout=100, once="token")
            assert number == 7
        assert state.ttl("hits") == about(100)

    def test_keeps_expiry(self, state):
        """Neither the increment nor its repeat changes the counter's expiry."""
        state.set("hits", 1, timeout=100)
        for _ in range(2):
            state.inc("hits", timeout=1000, once="token")
        assert state.ttl("hits") == about(100)

    def test_told_apart(self, state):
        """No other increment is taken for the one that a token came with."""
        assert state.inc("hits", once="token") == 1
        for delta in range(2, 52):
            with pytest.raises(TokenReused):
                state.inc("hits", delta, once="token")

    def test_reused(self, state):
        """A token that comes with another key or increment is refused, and nothing changes."""
        for options in [
            *({"delta": 2}, {"initial": 1}, {"timeout": 100}, {"minimum": 0}, {"maximum": 10}),
            {"key": "other"},
        ]:
            assert state.inc("hits", once="token") == 1
            with pytest.raises(TokenReused):
                state.inc(**{"key": "hits", "once": "token", **options})
            assert state.get("hits") == 1
            assert not state.has("other")
            assert state.inc("hits", once="token") == 1

    def test_defaults_are_the_same_increment(self, state):
        """An argument that is given as what it is by default makes no other increment."""
        assert state.inc("hits", once="token") == 1
        assert state.inc("hits", 1, initial=0, timeout=0, minimum=MIN, once="token") == 1

    def test_refused_out_of_bounds(self, state):
        """An increment that is out of bounds leaves no trace: its token can come again."""
        state.set("hits", 5)
        with pytest.raises(OutOfBounds):
            state.inc("hits", maximum=5, once="token")
        assert state.get("hits") == 5
        state.set("hits", 3)
        assert state.inc("hits", maximum=5, once="token") == 4
        assert state.inc("hits", 10, once="other") == 14

    def test_refused_on_missing(self, state):
        """An increment that is refused on a missing counter creates neither it nor the token."""
        with pytest.raises(OutOfBounds):
            state.inc("hits", maximum=0, once="token")
        assert not state.has("hits")
        assert state.inc("hits", 7, once="token") == 7

    def test_refused_no_counter(self, state):
        """An increment of what is no counter leaves no trace: its token can come again."""
        state.set("hits", "text")
        with pytest.raises(NotACounter):
            state.inc("hits", once="token")
        assert state.get("hits") == "text"
        state.set("hits", 3)
        assert state.inc("hits", once="token") == 4

    def test_lasts_a_day(self, state, clock):
        """A token is known for 24 hours, and is a new one after that."""
        assert state.inc("hits", once="token") == 1
        clock.advance(DAY - 60)
        assert state.inc("hits", once="token") == 1
        clock.advance(120)
        assert state.inc("hits", once="token") == 2
        assert state.inc("hits", once="token") == 2

    def test_repeat_does_not_prolong(self, state, clock):
        """The 24 hours count from the first call."""
        state.inc("hits", once="token")
        clock.advance(DAY / 2)
        state.inc("hits", once="token")
        clock.advance(DAY / 2 + 60)
        assert state.inc("hits", once="token") == 2

    def test_longer_than_its_counter(self, state, clock):
        """A token outlives the counter that it was for."""
        assert state.inc("hits", 5, timeout=100, once="token") == 5
        clock.advance(110)
        assert state.inc("hits", 5, timeout=100, once="token") == 5
        assert not state.has("hits")

    def test_any_token(self, state):
        """A token is any text that could be a key."""
        for number, token in enumerate(["é" * 125, "a b/c%", "*", "550e8400-e29b-41d4"], 1):
            assert [state.inc("hits", once=token) for _ in range(2)] == [number, number]

    def test_longest_token(self, store):
        """A token of 250 bytes works beside a key of 250 bytes and the longest prefix."""
        state = State(store, prefix="{p}".ljust(128, "p"))
        assert [state.inc("é" * 125, once="é" * 125) for _ in range(2)] == [1, 1]

    @IN_THE_STATE
    def test_wrong_token(self, state):
        """A token that could not be a key is refused, and nothing changes."""
        for token in ["", "x" * 251, "a\n", 5, b"token"]:
            with pytest.raises(InvalidKey):
                state.inc("hits", once=token)
            assert not state.has("hits")


def test_tokens_of_the_version_before():
    """A token's record has the form that former versions have stored, so that a repeat is known."""
    store = MemoryStore()
    State(store).inc("hits", 2, initial=3, timeout=60, minimum=-1, maximum=99, once="t")
    assert store.values([b"\0once:t"]) == [b"5 8f00b66252ad080f056e8c4914fba1d6"]
