"""Operations on many keys, on every store."""

import pytest
from backends import IN_THE_STATE, about

from sharedstate import InvalidKey, NotACounter, NotSerializable, OutOfBounds, State, ValueTooLarge

MANY = 1500


class TestGetMany:
    def test_order(self, state):
        """The values come in the order of the keys, None for each that is not there."""
        state.set_many({"a": 1, "b": [2], "c": None})
        assert state.get_many("c", "missing", "a", "b") == [None, None, 1, [2]]

    def test_repeated(self, state):
        """A key that is asked for twice is returned twice."""
        state.set("a", 1)
        assert state.get_many("a", "b", "a", "b") == [1, None, 1, None]

    def test_none(self, state):
        """No keys have no values."""
        assert state.get_many() == []
        assert state.get_dict() == {}

    def test_expired(self, state, clock):
        """What has expired is not there."""
        state.set("a", 1, timeout=100)
        state.set("b", 2)
        clock.advance(110)
        assert state.get_many("a", "b") == [None, 2]

    def test_dict(self, state):
        """The same as a dictionary, with each key that was asked for."""
        state.set_many({"a": 1, "b": 2})
        assert state.get_dict("b", "missing", "a") == {"b": 2, "missing": None, "a": 1}


class TestSetMany:
    def test_answers_keys(self, state):
        """All values are set, and the keys are returned."""
        assert state.set_many({"a": 1, "b": None, "ä/ö": [1]}) == ["a", "b", "ä/ö"]
        assert state.get_many("a", "b", "ä/ö") == [1, None, [1]]

    def test_empty(self, state):
        """Nothing can be set."""
        assert state.set_many({}) == []
        assert state.set_many({}, timeout=5) == []

    def test_replaces(self, state):
        """Values and expiries that were there are replaced."""
        state.set("a", 1, timeout=100)
        state.set("b", 2)
        state.set_many({"a": 3, "b": 4})
        assert (state.ttl("a"), state.ttl("b")) == (0, 0)
        state.set_many({"a": 5, "b": 6}, timeout=200)
        assert (state.ttl("a"), state.ttl("b")) == (about(200), about(200))
        assert state.get_many("a", "b") == [5, 6]

    @IN_THE_STATE
    @pytest.mark.parametrize(
        ("wrong", "error"),
        [
            ({"b": lambda: None}, NotSerializable),
            ({"b": b"x" * 2000}, ValueTooLarge),
            ({"": 1}, InvalidKey),
            ({5: 1}, InvalidKey),
        ],
    )
    def test_all_or_none(self, store, wrong, error):
        """If one key or value is refused none is set, not even those before it."""
        state = State(store, max_value_bytes=1000)
        with pytest.raises(error):
            state.set_many({"a": 1, **wrong, "c": 3})
        assert state.get_many("a", "c") == [None, None]

    def test_more_than_a_thousand(self, state):
        """More than a thousand keys are set, returned and deleted at once."""
        values = {f"key{i}": i for i in range(MANY)}
        assert state.set_many(values) == list(values)
        assert state.get_dict(*values) == values
        assert state.delete_many(*values) == list(values)
        assert state.get_many(*values) == [None] * MANY


class TestDeleteMany:
    def test_answers_those_there(self, state):
        """The keys that were there are gone, and are returned."""
        state.set_many({"a": 1, "b": None, "c": 3})
        assert state.delete_many("b", "missing", "a") == ["b", "a"]
        assert [state.has(key) for key in "abc"] == [False, False, True]

    def test_none(self, state):
        """Nothing can be deleted."""
        assert state.delete_many() == []

    def test_repeated(self, state):
        """A key that is named twice is there to be deleted once."""
        state.set_many({"a": 1, "b": 2})
        assert state.delete_many("a", "b", "a") == ["a", "b"]

    def test_expired(self, state, clock):
        """What has expired is not there to be deleted."""
        state.set("a", 1, timeout=100)
        state.set("b", 1, timeout=1000)
        clock.advance(110)
        assert state.delete_many("a", "b") == ["b"]

    def test_all_or_none(self, state):
        """If one key is refused none is deleted."""
        state.set_many({"a": 1, "b": 2})
        with pytest.raises(InvalidKey):
            state.delete_many("a", "", "b")
        assert state.get_many("a", "b") == [1, 2]


@pytest.mark.needs("atomic_batch")
class TestIncMany:
    def test_numbers(self, state):
        """Each counter is added to by its own delta, and the new numbers are returned."""
        state.set("b", 10)
        assert state.inc_many({"a": 1, "b": -3, "c": 0}) == {"a": 1, "b": 7, "c": 0}
        assert state.inc_many({"c": 5, "a": 1}) == {"c": 5, "a": 2}
        assert state.get_many("a", "b", "c") == [2, 7, 5]

    def test_empty(self, state):
        """No counters are no numbers."""
        assert state.inc_many({}) == {}

    def test_big_numbers(self, state):
        """Numbers near both ends of 64 bits are exact to the last digit."""
        ends = {"a": 2**63 - 1, "b": -(2**63), "c": 2**53 + 1}
        assert state.inc_many(ends) == ends
        assert state.inc_many({"a": -1, "b": 1, "c": 1}) == {
            "a": 2**63 - 2,
            "b": -(2**63) + 1,
            "c": 2**53 + 2,
        }

    def test_options(self, state):
        """Initial value, bounds and timeout hold for each of the counters."""
        state.set("b", 1)
        options = {"initial": 10, "minimum": 0, "maximum": 12, "timeout": 100}
        assert state.inc_many({"a": 2, "b": 2}, **options) == {"a": 12, "b": 3}
        assert (state.ttl("a"), state.ttl("b")) == (about(100), 0)

    def test_keeps_expiry(self, state, clock):
        """The expiry of counters that exist is kept."""
        state.set("a", 1, timeout=100)
        clock.advance(40)
        state.inc_many({"a": 1, "b": 1}, timeout=1000)
        assert (state.ttl("a"), state.ttl("b")) == (about(60), about(1000))

    @pytest.mark.parametrize("refused", ["first", "middle", "last"])
    def test_all_or_none(self, state, refused):
        """If one counter is refused none changes, none is created, and all expiries stay."""
        order = ["first", "there", "middle", "for ever", "last"]
        for value in (9, -(2**63), 2**63 - 1, "x"):
            state.set(refused, value, timeout=200)
            state.set("there", 5, timeout=100)
            state.set("for ever", 5)
            with pytest.raises(NotACounter if value == "x" else OutOfBounds) as caught:
                state.inc_many(dict.fromkeys(order, 1), minimum=-100, maximum=9)
            if value != "x":
                assert (caught.value.minimum, caught.value.maximum) == (-100, 9)
            for key in order:
                expected = {refused: value, "there": 5, "for ever": 5}.get(key)
                assert state.get(key) == expected
            assert state.ttl(refused) == about(200)
            assert (state.ttl("there"), state.ttl("for ever")) == (about(100), 0)

    @IN_THE_STATE
    @pytest.mark.parametrize(
        ("wrong", "error"),
        [({"b": 1.5}, TypeError), ({"b": True}, TypeError), ({"b": 2**63}, ValueError)],
    )
    def test_wrong_delta(self, state, wrong, error):
        """If one delta is no 64-bit integer nothing is changed."""
        with pytest.raises(error, match="delta"):
            state.inc_many({"a": 1, **wrong})
        assert not state.has("a")

    @IN_THE_STATE
    def test_wrong_key(self, state):
        """If one key is refused nothing is changed."""
        with pytest.raises(InvalidKey):
            state.inc_many({"a": 1, "": 1})
        assert not state.has("a")

    def test_more_than_a_thousand(self, state):
        """More than a thousand counters are added to at once."""
        deltas = {f"key{i}": i for i in range(MANY)}
        assert state.inc_many(deltas) == deltas
        assert state.inc_many(dict.fromkeys(deltas, 1)) == {key: i + 1 for key, i in deltas.items()}
