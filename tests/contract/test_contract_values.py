"""Values on every store: get, set, add, exchange, delete, has, ttl, touch; limits and timeouts."""

import datetime
import math
import time
from collections import OrderedDict
from decimal import Decimal
from functools import partial

import pytest
from backends import IN_THE_STATE, about

from sharedstate import ABSENT, NotSerializable, State, ValueTooLarge
from sharedstate.codec import JSONCodec
from sharedstate.keyspace.arguments import MAX_TIMEOUT
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
STORE = {
    "set": lambda state, key, value, **options: state.set(key, value, **options),
    "put": lambda state, key, value, **options: state.put(key, value, **options),
    "add": lambda state, key, value, **options: state.add(key, value, **options),
    "exchange": lambda state, key, value, **options: state.exchange(key, value, **options),
    "set_many": lambda state, key, value, **options: state.set_many({key: value}, **options),
    "get_or_set": lambda state, key, value, **options: state.get_or_set(
        key, lambda: value, **options
    ),
    "compare_and_set": lambda state, key, value, **options: state.compare_and_set(
        key, ABSENT, value, **options
    ),
}
CREATE = STORE | {
    "append": lambda state, key, value, **options: state.append(key, value, **options),
    "inc": lambda state, key, value, **options: state.inc(key, value, **options),
    "dec": lambda state, key, value, **options: state.dec(key, value, **options),
    "saturated": lambda state, key, value, **options: state.inc_saturated(key, value, **options),
    "once": lambda state, key, value, **options: state.inc(
        key, value, once=f"{key} {options}", **options
    ),
    "inc_many": lambda state, key, value, **options: state.inc_many({key: value}, **options),
}
PROLONG = {
    "touch": lambda state, key, value, timeout: state.touch(key, timeout),
    "set": lambda state, key, value, timeout: state.set(key, value, timeout),
    "put": lambda state, key, value, timeout: state.put(key, value, timeout),
    "exchange": lambda state, key, value, timeout: state.exchange(key, value, timeout),
    "set_many": lambda state, key, value, timeout: state.set_many({key: value}, timeout),
    "compare_and_set": lambda state, key, value, timeout: state.compare_and_set(
        key, value, value, timeout=timeout
    ),
    "delete and add": lambda state, key, value, timeout: (
        state.delete(key) and state.add(key, value, timeout)
    ),
    "delete and inc": lambda state, key, value, timeout: (
        state.delete(key) and state.inc(key, value, timeout=timeout)
    ),
}
UPDATE = {"update": lambda state, key, value: state.update(key, lambda present: value)}
WRONG_TIMEOUTS = [
    *((-1, ValueError), (-0.001, ValueError), (math.nan, ValueError), (math.inf, ValueError)),
    *((-math.inf, ValueError), (MAX_TIMEOUT + 1, ValueError), (10**400, ValueError)),
    *((True, TypeError), (False, TypeError), ("5", TypeError)),
    (datetime.timedelta(seconds=-1), ValueError),
]


@pytest.fixture
def create(backend):
    """Creates a key in each way that the store can, called as the way is; returns the keys."""
    needed = {"once": "once", "inc_many": "atomic_batch"}
    ways = {name: way for name, way in CREATE.items() if needed.get(name) in {None, *backend.can}}
    return partial(store_by_each, ways)


def store_by_each(ways, state, value, **options):
    for name, way in ways.items():
        way(state, name, value, **options)
    return list(ways)


def refused_by_each(ways, state, error, match, value, **options):
    """All the ways refuse the value, and nothing is stored; returns the errors."""
    errors = []
    for name, way in ways.items():
        with pytest.raises(error, match=match) as caught:
            way(state, name, value, **options)
        errors.append(caught.value)
    assert state.get_many(*ways) == [None] * len(ways)
    return errors


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


class TestExpiry:
    def test_never(self, state, clock):
        """Without a timeout a value stays for good."""
        state.set("key", 1)
        assert state.ttl("key") == 0
        clock.advance(90 * 365 * 24 * 3600)
        assert state.get("key") == 1
        assert state.ttl("key") == 0

    def test_missing(self, state):
        """A key that is not there has no remaining time and cannot be touched."""
        assert state.has("key") is False
        assert state.ttl("key") is None
        assert state.touch("key", 100) is False
        assert state.has("key") is False

    def test_counts_down(self, state, clock):
        """The remaining time is what is left of the timeout."""
        state.set("key", 1, timeout=100)
        clock.advance(40)
        assert state.ttl("key") == about(60)

    def test_ends(self, state, clock):
        """A key is there until its timeout is over, and for no operation after it."""
        state.set("key", 1, timeout=100)
        clock.advance(90)
        assert state.get("key") == 1
        assert state.has("key") is True
        clock.advance(20)
        assert state.get("key") is None
        assert state.has("key") is False
        assert state.ttl("key") is None
        assert state.item("key") is None
        assert state.touch("key", 100) is False

    def test_set_replaces_it(self, state):
        """A set replaces the expiry too, with none or another."""
        state.set("key", 1, timeout=100)
        state.set("key", 2)
        assert state.ttl("key") == 0
        state.set("key", 3, timeout=200)
        assert state.ttl("key") == about(200)

    def test_touch(self, state, clock):
        """A touch sets when the key ends, from now, and leaves the value."""
        state.set("key", "value", timeout=100)
        clock.advance(90)
        assert state.touch("key", 100) is True
        clock.advance(90)
        assert state.get("key") == "value"
        assert state.ttl("key") == about(10)

    def test_touch_sooner(self, state, clock):
        """A touch can bring the end nearer."""
        state.set("key", "value")
        state.touch("key", 100)
        clock.advance(110)
        assert not state.has("key")

    @pytest.mark.parametrize("timeout", [0, None], ids=repr)
    def test_touch_for_ever(self, state, clock, timeout):
        """A touch with 0, or with the default that is 0, lets the key stay for good."""
        state.set("key", "value", timeout=100)
        assert state.touch("key", timeout) is True
        assert state.ttl("key") == 0
        clock.advance(1000)
        assert state.get("key") == "value"

    def test_touch_default(self, store):
        """A touch without a timeout takes the default."""
        state = State(store, default_timeout=100)
        state.set("key", "value", timeout=0)
        assert state.ttl("key") == 0
        state.touch("key")
        assert state.ttl("key") == about(100)

    @IN_THE_STATE
    def test_touch_wrong(self, state):
        """A touch with a wrong timeout changes nothing."""
        state.set("key", 1, timeout=100)
        for timeout, error in WRONG_TIMEOUTS:
            with pytest.raises(error):
                state.touch("key", timeout)
        assert state.ttl("key") == about(100)

    def test_many_expire(self, state, clock):
        """Many keys that end at different times end each at its own."""
        for i in range(100):
            state.set(f"{i}", i, timeout=100 + 100 * (i % 3))
        clock.advance(150)
        assert [i for i in range(100) if state.has(f"{i}")] == [i for i in range(100) if i % 3]
        for i in range(100):  # Writes collect what has ended, a little each.
            state.set("other", i)
        assert state.get_many(*map(str, range(6))) == [None, 1, 2, None, 4, 5]

    def test_prolonged(self, state, clock):
        """What was to end sooner once is not collected while it lives on."""
        ways = [(name, timeout, i) for name in PROLONG for timeout in (0, 1000) for i in range(2)]
        for name, timeout, i in ways:
            state.set(f"{name} {timeout} {i}", i, timeout=100)
            PROLONG[name](state, f"{name} {timeout} {i}", i, timeout)
        clock.advance(110)
        for i in range(100):  # Writes collect what has ended, a little each.
            state.set("other", i)
        found = state.get_dict(*(f"{name} {timeout} {i}" for name, timeout, i in ways))
        assert found == {f"{name} {timeout} {i}": i for name, timeout, i in ways}


class TestTimeouts:
    """In whichever way a key is created."""

    def test_ends(self, state, clock, create):
        """It ends after the timeout, which may be a fraction of seconds or a timedelta."""
        for timeout in (100.9, datetime.timedelta(minutes=1, seconds=40)):
            keys = create(state, 1, timeout=timeout)
            assert {key: state.ttl(key) for key in keys} == dict.fromkeys(keys, about(100))
            clock.advance(110)
            assert state.get_many(*keys) == [None] * len(keys)

    def test_fraction(self, state, create):
        """The fraction of seconds counts."""
        began = time.monotonic()
        keys = create(state, 1, timeout=100.9)
        left = [state.ttl(key) for key in keys]
        ago = time.monotonic() - began  # Of which a server's records have lived at most so much.
        assert [ttl for ttl in left if not 100.8 - ago < ttl <= 100.9] == []

    def test_shortest(self, state, clock, create):
        """A timeout below a millisecond is one, not none."""
        keys = create(state, 1, timeout=1e-9)
        clock.advance(0.002)
        assert [key for key in keys if state.has(key)] == []

    def test_longest(self, state, create):
        """A timeout may be a hundred years."""
        keys = create(state, 1, timeout=MAX_TIMEOUT)
        assert {key: state.ttl(key) for key in keys} == dict.fromkeys(keys, about(MAX_TIMEOUT))

    def test_never(self, store, create):
        """Without a timeout it stays for good, and with one of 0, whatever the default."""
        for prefix, default, options in (("{a}", 0, {}), ("{b}", 100, {"timeout": 0})):
            state = State(store, default_timeout=default, prefix=prefix)
            keys = create(state, 1, **options)
            assert {key: state.ttl(key) for key in keys} == dict.fromkeys(keys, 0)

    def test_default(self, store, clock, create):
        """A state's default timeout holds for all that are created without one."""
        state = State(store, default_timeout=100, prefix="{a}")
        keys = create(state, 1)
        assert {key: state.ttl(key) for key in keys} == dict.fromkeys(keys, about(100))
        clock.advance(110)
        assert [key for key in keys if state.has(key)] == []

    @IN_THE_STATE
    def test_wrong(self, state):
        """A timeout that is no time is refused, and nothing is stored."""
        for timeout, error in WRONG_TIMEOUTS:
            refused_by_each(CREATE, state, error, "timeout", 1, timeout=timeout)


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
