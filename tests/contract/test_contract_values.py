"""Values on every store: get, set, add, exchange, delete, has, ttl, touch; limits and timeouts."""

import datetime
import math
from collections import OrderedDict
from decimal import Decimal

import pytest
from backends import IN_THE_STATE, about
from ways import STORE, UPDATE, refused_by_each, store_by_each

from sharedstate import ABSENT, NotSerializable, State, ValueTooLarge
from sharedstate.codec import JSONCodec
from sharedstate.stores.operations import Put

JSON_VALUES = [
    *(None, True, False, 0, -1, 2**63 - 1, -(2**63), 2**63, 2**70, -(2**70)),
    *(0.5, -1e300, 1.0, "", "text", "12", " ", "ünï ☃ 🎉 \0 \n", "\\", '"', "!", "\x7f"),
    *([], [1, [2, None]], {}, {"a": {"b": [True]}}, {"": 0}),
]
PICKLE_VALUES = [
    *(b"", b"\0\xff", b"12", (), (1, 2), {1: "a"}, {1, 2}, frozenset(), 1 + 2j, math.inf),
    *(Decimal("1.10"), datetime.date(2025, 1, 2), OrderedDict(b=1, a=2), range(3)),
]


class TestValues:
    def test_pickle(self, state):
        """What is set comes back equal and of the same type."""
        for value in [*JSON_VALUES, *PICKLE_VALUES]:
            assert state.set("key", value) is True
            found = state.get("key")
            assert (type(found), found) == (type(value), value)

    def test_json(self, json_state):
        """What JSON can say comes back equal and of the same type."""
        for value in JSON_VALUES:
            assert json_state.set("key", value) is True
            found = json_state.get("key")
            assert (type(found), found) == (type(value), value)

    def test_bytes_like_numbers(self, store):
        """What a codec wrote comes back byte for byte, also where it is nearly a counter."""
        key = (b"{test}:key",)
        for raw in (b"007", b"-0", b"-", b" 1", b"+1", b"1_0", b"%d" % 2**63, "٣".encode()):
            store.transact(key, Put(raw, 0))
            assert store.values(key) == [raw]

    def test_replaced(self, state):
        """A second set replaces the value, whatever its type."""
        state.set("key", "text")
        state.set("key", 5)
        assert state.get("key") == 5

    def test_is_a_copy(self, state):
        """Neither what was set nor what was got is the value itself."""
        value = [1]
        state.set("key", value)
        value.append(2)
        state.get("key").append(3)
        assert state.get("key") == [1]

    def test_missing(self, state):
        """A key without a value returns the default, or None."""
        assert state.get("key") is None
        assert state.get("key", "default") == "default"
        assert state.get("key", ABSENT) is ABSENT

    def test_stored_none(self, state):
        """A stored None is a value: it is there, and no default takes its place."""
        state.set("key", None)
        assert state.get("key", "default") is None
        assert state.has("key")
        assert state.ttl("key") == 0
        assert not state.add("key", 1)

    def test_false_values(self, state):
        """A value that Python takes for false is there like any other."""
        for value in [None, 0, "", False, []]:
            state.set("key", value)
            assert state.has("key")
            assert state.delete("key")

    @IN_THE_STATE
    def test_not_serializable(self, state):
        """A value that cannot be pickled is refused, and nothing is stored."""
        refused_by_each(STORE | UPDATE, state, NotSerializable, "pickle", lambda: None)

    @IN_THE_STATE
    def test_not_json(self, json_state):
        """A value that would not come back from JSON equal is refused, and nothing is stored."""
        refused_by_each(STORE | UPDATE, json_state, NotSerializable, "JSON", {1: (2,)})


class TestAdd:
    def test_missing(self, state):
        """The first to add stores its value, and the next one changes nothing."""
        assert state.add("key", "first") is True
        assert state.add("key", "second") is False
        assert state.get("key") == "first"

    def test_expired(self, state, clock):
        """A key that has expired can be added again."""
        state.add("key", "first", timeout=100)
        clock.advance(110)
        assert state.add("key", "second") is True
        assert state.get("key") == "second"
        assert state.ttl("key") == 0

    def test_refused_keeps_expiry(self, state):
        """An add that is refused leaves the expiry as it is."""
        state.set("key", "first", timeout=100)
        assert not state.add("key", "second", timeout=1000)
        assert state.ttl("key") == about(100)


class TestExchange:
    def test_present(self, state):
        """The value that was there comes back, and the new one is stored."""
        state.set("key", [1])
        assert state.exchange("key", [2], default="default") == [1]
        assert state.get("key") == [2]

    def test_missing(self, state):
        """Without a value the default comes back, and the new one is stored."""
        assert state.exchange("key", 1) is None
        assert state.exchange("other", 1, default="default") == "default"
        assert state.get("key") == state.get("other") == 1

    def test_stored_none(self, state):
        """A stored None comes back as the value it is."""
        state.set("key", None)
        assert state.exchange("key", 1, default="default") is None

    def test_expired(self, state, clock):
        """A value that has expired does not come back."""
        state.set("key", 1, timeout=100)
        clock.advance(110)
        assert state.exchange("key", 2) is None

    def test_replaces_expiry(self, state):
        """The expiry is that of the new value."""
        state.set("key", 1, timeout=100)
        state.exchange("key", 2)
        assert state.ttl("key") == 0
        state.exchange("key", 3, timeout=200)
        assert state.ttl("key") == about(200)


class TestDelete:
    def test_present(self, state):
        """A key that was there is gone, once."""
        state.set("key", 1)
        assert state.delete("key") is True
        assert state.delete("key") is False
        assert state.get("key") is None

    def test_missing(self, state):
        """A key that is not there was not deleted."""
        assert state.delete("key") is False

    def test_expired(self, state, clock):
        """A key that has expired is not there to be deleted."""
        state.set("key", 1, timeout=100)
        clock.advance(110)
        assert state.delete("key") is False

    def test_others_stay(self, state):
        """Keys that begin alike are not touched."""
        state.set_many({"key": 1, "key2": 2, "ke": 3})
        state.delete("key")
        assert state.get_many("key", "key2", "ke") == [None, 2, 3]


class TestValueLimit:
    @IN_THE_STATE
    def test_small(self, store):
        """A value of exactly the limit is stored; one byte more is refused, and nothing is."""
        state = State(store, codec=JSONCodec(), max_value_bytes=100)
        ways = STORE | UPDATE
        errors = refused_by_each(ways, state, ValueTooLarge, "CACHE_MAX_VALUE_BYTES", "x" * 99)
        assert {(error.size, error.limit) for error in errors} == {(101, 100)}
        store_by_each(ways, state, "x" * 98)
        assert state.get_many(*ways) == ["x" * 98] * len(ways)

    def test_default(self, json_state):
        """A value may have a MiB, and a larger one leaves the one that was there."""
        largest = "x" * (2**20 - 2)
        json_state.set("key", largest)
        with pytest.raises(ValueTooLarge):
            json_state.set("key", largest + "x")
        assert json_state.get("key") == largest

    @IN_THE_STATE
    def test_bytes_count(self, store):
        """The limit counts bytes, not characters."""
        state = State(store, codec=JSONCodec(), max_value_bytes=100)
        state.set("key", "é" * 49)
        with pytest.raises(ValueTooLarge):
            state.set("key", "é" * 50)

    def test_grows_and_shrinks(self, state):
        """A value may be replaced by a much larger and a much smaller one."""
        for size in (1, 500_000, 10, 1_000_000, 0):
            state.set("key", b"x" * size)
            assert state.get("key") == b"x" * size


@IN_THE_STATE
@pytest.mark.parametrize("operation", ["set", "put", "add", "exchange"])
def test_absent_is_no_value(state, operation):
    """What stands for no value cannot be stored as one."""
    with pytest.raises(NotSerializable):
        getattr(state, operation)("key", ABSENT)
    assert not state.has("key")
