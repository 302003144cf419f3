"""Keys on every store: which are allowed, prefixes, listing, and clearing."""

import pytest
from backends import IN_THE_STATE, about

from sharedstate import ABSENT, InvalidKey, NotSerializable, State, ValueTooLarge
from sharedstate.codec import JSONCodec, PickleCodec

ODD_KEYS = [
    *("a", "A", " ", " a", "a ", "a b", "a/b/c", "/", "//", "..", "a:b", "0", "None", "%", "%2F"),
    *("%00", "*", "?", "[a]", "\\", "\\*", "'", '"', "'; DROP TABLE entries; --", "{a}", "#", "&"),
    *("é", "e\u0301", "ß", "日本語", "🎉", "\u00a0", "\u2028", "\ufeff", "\U0010ffff", "\x80"),
    *("x" * 250, "é" * 125, "🎉" * 62),
]
WRONG_KEYS = [
    *("", "\0", "a\0b", "a\n", "\t", "\x1f", "\x7f", "\ud800", "a\udfff"),
    *("x" * 251, "é" * 126, "🎉" * 63, "x" * 100_000),
    *(None, 5, 1.5, True, b"a", ("a",)),
]
OPERATIONS = {
    "get": lambda state, key: state.get(key),
    "set": lambda state, key: state.set(key, 1),
    "add": lambda state, key: state.add(key, 1),
    "exchange": lambda state, key: state.exchange(key, 1),
    "delete": lambda state, key: state.delete(key),
    "has": lambda state, key: state.has(key),
    "ttl": lambda state, key: state.ttl(key),
    "touch": lambda state, key: state.touch(key, 1),
    "inc": lambda state, key: state.inc(key),
    "dec": lambda state, key: state.dec(key),
    "inc_saturated": lambda state, key: state.inc_saturated(key),
    "append": lambda state, key: state.append(key, 1),
    "update": lambda state, key: state.update(key, lambda value: 1),
    "compare_and_set": lambda state, key: state.compare_and_set(key, ABSENT, 1),
    "get_or_set": lambda state, key: state.get_or_set(key, lambda: 1),
    "item": lambda state, key: state.item(key),
    "wait": lambda state, key: state.wait(key, None, 0),
    "get_many": lambda state, key: state.get_many("key", key),
    "get_dict": lambda state, key: state.get_dict("key", key),
    "set_many": lambda state, key: state.set_many({"key": 1, key: 1}),
    "delete_many": lambda state, key: state.delete_many("key", key),
    "lock": lambda state, key: state.lock(key).acquire(),
}


def able(backend):
    """The operations with a key that a store can do."""
    yield from OPERATIONS.values()
    if "atomic_batch" in backend.can:
        yield lambda state, key: state.inc_many({"key": 1, key: 1})


class TestRules:
    def test_odd_keys(self, state):
        """Any text of 1 to 250 bytes without control characters is a key, and each is another."""
        state.set_many({key: i for i, key in enumerate(ODD_KEYS)})
        assert state.get_many(*ODD_KEYS) == list(range(len(ODD_KEYS)))
        assert [state.get(key) for key in ODD_KEYS] == list(range(len(ODD_KEYS)))

    @pytest.mark.needs("keys")
    def test_odd_keys_are_listed(self, state):
        """Every key that is allowed is listed as it is, alone too."""
        state.set_many(dict.fromkeys(ODD_KEYS, 1))
        assert sorted(state.keys()) == sorted(ODD_KEYS)
        for key in ODD_KEYS:
            assert key in state.keys(key)

    def test_longest(self, store, backend):
        """A key of 250 bytes works for every operation, behind the longest prefix too."""
        for number, operation in enumerate(able(backend)):
            operation(State(store, prefix="{p}".ljust(128, "p")), "é" * 124 + f"{number:02}")

    @IN_THE_STATE
    def test_wrong(self, state, backend):
        """A key that is not allowed is refused by every operation, and nothing happens."""
        for operation in able(backend):
            for key in WRONG_KEYS:
                with pytest.raises(InvalidKey):
                    operation(state, key)
        assert not state.has("key")

    @IN_THE_STATE
    def test_unhashable(self, state):
        """A key that could not be one of a dictionary is refused like any other."""
        for key in [[], {}, set()]:
            for name in ("get", "set", "delete", "inc", "update", "item", "get_many", "lock"):
                with pytest.raises(InvalidKey):
                    OPERATIONS[name](state, key)

    @IN_THE_STATE
    def test_message(self, state):
        """The error says what is wrong, and does not repeat a whole long key."""
        with pytest.raises(InvalidKey, match="252 UTF-8 bytes; at most 250") as caught:
            state.get("é" * 126)
        assert len(str(caught.value)) < 150


class TestItem:
    def test_present(self, state, clock):
        """An item has the key, its value and the seconds that are left, 0 for ever."""
        state.set("key", [1])
        assert state.item("key")[:3] == ("key", [1], 0)
        state.set("key", None, timeout=100)
        clock.advance(40)
        item = state.item("key")
        assert (item.key, item.value, item.ttl) == ("key", None, about(60))

    def test_missing(self, state):
        """There is no item for a key without a value."""
        assert state.item("key") is None


class TestClear:
    def test_removes_all(self, state):
        """What a state holds is gone when it is cleared, and it goes on working."""
        state.set_many({f"{i}": i for i in range(2500)})
        state.set("key", 1, timeout=100)
        assert state.clear() is True
        assert state.get_many("0", "2499", "key") == [None, None, None]
        assert state.inc("0") == 1
        assert state.ttl("0") == 0

    def test_empty(self, state):
        """An empty state can be cleared."""
        assert state.clear() is True

    def test_others_stay(self, store):
        """What other prefixes hold stays, its neighbours in any order included."""
        prefixes = [".a", "<a", "<a>", "<a>!", "<a\u0301>", "<b", "é"]
        states = [State(store, prefix=prefix + ":") for prefix in prefixes]
        for state in states:
            state.set_many({"!": 1, "\U0010ffff": 2})
        for i, state in enumerate(states):
            state.clear()
            assert state.get_many("!", "\U0010ffff") == [None, None]
            assert [other.get_many("!", "\U0010ffff") for other in states[i + 1 :]] == [
                [1, 2] for _ in states[i + 1 :]
            ]


def test_a_namespace_is_like_its_state(store):
    """A namespace stores as its state does: with its codec, default timeout and limit."""
    space = State(store, codec=JSONCodec(), default_timeout=100, max_value_bytes=50).namespace(
        "space"
    )
    space.set("key", 1)
    assert space.ttl("key") == about(100)
    with pytest.raises(NotSerializable):
        space.set("key", {1})
    with pytest.raises(ValueTooLarge):
        space.set("key", "x" * 60)
    assert space.namespace("other", PickleCodec()).set("key", {1})
