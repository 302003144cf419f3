"""When values end, on every store, in whichever way they were stored."""

import datetime
import time
from functools import partial

import pytest
from backends import IN_THE_STATE, about
from ways import CREATE, WRONG_TIMEOUTS, refused_by_each, store_by_each

from sharedstate import State
from sharedstate.keyspace.arguments import MAX_TIMEOUT

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


@pytest.fixture
def create(backend):
    """Creates a key in each way that the store can, called as the way is; returns the keys."""
    needed = {"once": "once", "inc_many": "atomic_batch"}
    ways = {name: way for name, way in CREATE.items() if needed.get(name) in {None, *backend.can}}
    return partial(store_by_each, ways)


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
