"""Keys on every store: which are allowed, prefixes, listing, and clearing."""

import contextlib

import pytest
from backends import IN_THE_STATE, about

from sharedstate import ABSENT, InvalidKey, NotSerializable, State, ValueTooLarge
from sharedstate.codec import JSONCodec, PickleCodec
from sharedstate.stores.operations import Put

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


# With the hex of a key: what a cursor looks like in one store or another, or might.
CURSORS = [
    "{}",
    "-1:{}",
    "0:{}",
    "-1:61:{}",
    "-1::{}",
    *(f"{n}:-1:{{}}" for n in range(3)),
    "0:0:{}",
]
WRONG_CURSORS = [
    *("x", "zz", "-1", "é", "0:", ":", "a:b", "1:2:3", "%", "-1:", "0:-1:", "-1:zz", "-1:0"),
    *("-2", "0:-2", "-0", "+1", "1_0", " 1", "1\n", "1.0", "1e3", "0x10", "٣", "²", "0:٣", "٠:0"),
    *("-1:٣٣", "-1:ff", "-1:61ff", "-1:c3", "0:-1:ff", "0:-1:c3", "-1:00", "0:-1:00", "ff", "00"),
    *(str(n) for n in (2**63, 2**64 - 1, 2**64, -(2**63), 10**26, 10**30)),
    *(f"0:{n}" for n in (2**63, 2**64 - 1, 2**64, -(2**63), 10**26, 10**30)),
    *(f"{10**26}:0", f"{10**26}:-1:61", f"-{10**26}", "9" * 5000, "0:" + "9" * 5000),
    "9" * 5000 + ":0",
]
# What each would match, taken for a pattern of Redis', SQL's or a shell's.
PATTERNS = {
    "a*b": ["axb", "ab"],
    "*": ["x"],
    "a?": ["ax"],
    "[x]": ["x"],
    "[a-z]": ["b", "-"],
    "[^a]": ["b"],
    "\\": ["*", "x"],
    "a\\*": ["a*"],
    "a_": ["ax"],
    "a%": ["ax"],
    "{a,b}": ["a", "b"],
    "^a": ["a"],
}


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


def pages(state, prefix, limit):
    """All pages of items, each one no longer than `limit`."""
    found, cursor = [], None
    while True:
        page, cursor = state.items(prefix, cursor=cursor, limit=limit)
        assert len(page) <= limit
        found.append(page)
        assert len(found) < 1000
        if cursor is None:
            return found


def listed(state, prefix="", limit=100):
    """Key, value and ttl of all, in order; what is on two pages, as it may be, is there once."""
    found = {item.key: item[:3] for page in pages(state, prefix, limit) for item in page}
    return sorted(found.values())


@pytest.mark.needs("keys")
class TestListing:
    def test_empty(self, state):
        """An empty state has no keys and no items."""
        assert state.keys() == []
        assert state.items() == ([], None)
        assert state.keys("a") == []

    def test_by_prefix(self, state):
        """The keys that begin with the prefix are listed, and it is one of them."""
        state.set_many(dict.fromkeys(["a", "a1", "a2", "b1", "ä1"], 1))
        assert sorted(state.keys("a")) == ["a", "a1", "a2"]
        assert state.keys("a2") == ["a2"]
        assert state.keys("ä") == ["ä1"]
        assert state.keys("c") == []
        assert listed(state, "a") == [("a", 1, 0), ("a1", 1, 0), ("a2", 1, 0)]

    def test_items(self, state, clock):
        """Items have their values and the seconds that are left, 0 for ever."""
        state.set("a", None)
        state.set("b", [1], timeout=100)
        clock.advance(40)
        assert listed(state) == [("a", None, 0), ("b", [1], about(60))]

    def test_unreadable(self, store, json_state, clock):
        """An item that cannot be read is listed with its error, and the others as ever."""
        json_state.set_many({"a": 1, "z": [2]})
        for key, raw in {"bytes": b"\xff" * 100_000, "deep": b"[" * 100_000}.items():
            store.transact((f"json:{key}".encode(),), Put(raw, 100))
        clock.advance(40)
        items = {item.key: item for item in json_state.items()[0]}
        assert [(items[key].value, items[key].error) for key in "az"] == [(1, None), ([2], None)]
        for key in ("bytes", "deep"):
            assert items[key].value is ABSENT
            assert items[key].ttl == about(60)
            assert isinstance(items[key].error, NotSerializable)
            assert len(str(items[key].error)) < 300
        assert items["bytes"].version != items["deep"].version
        assert sorted(json_state.keys()) == ["a", "bytes", "deep", "z"]

    def test_pages(self, state):
        """Pages of any size have each item, and end."""
        for limit in [1, 2, 5, 9, 10, 11, 1000]:
            expected = [(f"k{i}", i, 0) for i in range(10)]
            state.set_many({key: value for key, value, _ in expected})
            state.namespace("other").set_many(dict.fromkeys("abc", 1))
            assert listed(state, limit=limit) == expected

    def test_many(self, state):
        """Thousands of keys are listed, each once."""
        keys = [f"{i:05}" for i in range(2500)]
        state.set_many(dict.fromkeys(keys, 1))
        assert sorted(state.keys()) == keys
        assert sorted(state.keys("01")) == keys[1000:2000]
        assert {key for key, _, _ in listed(state, limit=333)} == set(keys)

    def test_deleted_meanwhile(self, state):
        """Who deletes what a page shows before asking for the next one sees every key."""
        expected = {f"{i:03}" for i in range(300)}
        state.set_many(dict.fromkeys(expected, 1))
        seen, cursor = set(), None
        while True:
            page, cursor = state.items(cursor=cursor, limit=7)
            seen.update(item.key for item in page)
            state.delete_many(*(item.key for item in page))
            if cursor is None:
                break
        assert seen == expected

    def test_added_meanwhile(self, state):
        """Keys that come while the pages are read hide none that was there before."""
        expected = {f"m{i:03}" for i in range(100)}
        state.set_many(dict.fromkeys(expected, 1))
        seen, cursor, pages_read = set(), None, 0
        while True:
            page, cursor = state.items(cursor=cursor, limit=7)
            seen.update(item.key for item in page)
            if cursor is None:
                break
            if pages_read < 50:
                state.set_many({f"{side}{pages_read}": 1 for side in "az"})
            pages_read += 1
        assert seen >= expected

    def test_expired(self, state, clock):
        """Keys that have expired are not listed, collected or not."""
        state.set_many(dict.fromkeys([f"old{i}" for i in range(200)], 1), timeout=100)
        state.set_many({"new1": 1, "new2": 2})
        clock.advance(110)
        assert sorted(state.keys()) == ["new1", "new2"]
        assert listed(state, limit=1) == [("new1", 1, 0), ("new2", 2, 0)]
        assert state.keys("old") == []

    def test_wrong_cursor(self, state):
        """A cursor that is none either is refused as such or finds nothing that is not there."""
        state.set("key", 1)
        for number, cursor in enumerate(WRONG_CURSORS, 1):
            with contextlib.suppress(InvalidKey):
                page, _ = state.items(cursor=cursor)
                assert [item.key for item in page] in ([], ["key"])
            # The store is not taken for one that is down.
            assert state.namespace("other").inc("n") == number

    def test_cursor_of_another(self, store, state):
        """A cursor that names a key of another prefix does not lead there."""
        for shape in CURSORS:
            for prefix in ["", "k"]:
                state.set("key", 1)
                for other in ("other:", "test", "{test}", "tes", "z"):
                    State(store, prefix=other).set("secret", 2)
                    cursor = shape.format(f"{other}secret".encode().hex())
                    with contextlib.suppress(InvalidKey):
                        page, _ = state.items(prefix, cursor=cursor)
                        assert [item.key for item in page] in ([], ["key"])
                assert state.get("key") == 1

    @IN_THE_STATE
    def test_wrong_limit(self, state):
        """A page must have room for at least one item."""
        for limit in [0, -1]:
            state.set("key", 1)
            with pytest.raises(ValueError):
                state.items(limit=limit)

    @IN_THE_STATE
    def test_wrong_prefix(self, state):
        """A prefix that no key can have is refused as a key would be."""
        for prefix in ["\ud800", "a\udfff"]:
            with pytest.raises(InvalidKey):
                state.keys(prefix)


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


class TestPatterns:
    @pytest.mark.needs("keys")
    def test_keys(self, store):
        """A state's prefix that looks like a pattern lists what begins with it, and no more."""
        for prefix in PATTERNS:
            state, others = self.states(store, prefix)
            state.set_many({"key": 1, prefix: 2})
            assert sorted(state.keys()) == sorted(["key", prefix])
            assert state.keys(prefix) == [prefix]
            assert listed(state, limit=1) == sorted([("key", 1, 0), (prefix, 2, 0)])
            for each in (state, *others):
                each.delete_many("key", prefix)

    @pytest.mark.needs("keys")
    def test_keys_by_prefix(self, state):
        """A prefix of keys that looks like a pattern lists what begins with it, and no more."""
        for prefix, others in PATTERNS.items():
            keys = [prefix + "key", *(other + "key" for other in others)]
            state.set_many(dict.fromkeys(keys, 1))
            assert state.keys(prefix) == [prefix + "key"]
            state.delete_many(*keys)

    def test_clear(self, store):
        """A state's prefix that looks like a pattern clears what begins with it, and no more."""
        for prefix in PATTERNS:
            state, others = self.states(store, prefix)
            state.set_many({"key": 1, "other": 2})
            state.clear()
            assert state.get_many("key", "other") == [None, None]
            assert [other.get("key") for other in others] == [1] * len(others)
            for other in others:
                other.delete("key")

    def states(self, store, prefix):
        """A state with the prefix, and those with what it would match, which have a key."""
        others = [State(store, prefix=other) for other in PATTERNS[prefix]]
        for other in others:
            other.set("key", 1)
        return State(store, prefix=prefix), others


@pytest.mark.parametrize("prefix", ["", "a:"])
class TestInternalRecords:
    """Locks, fences, `once` tokens and computations have records of their own."""

    @pytest.fixture
    def state(self, store, prefix):
        """A state with a record of each kind, and one value."""
        state = State(store, prefix=prefix)
        self.lock = state.lock("job").acquire()
        state.inc("key", once="token")
        state.get_or_set("made", lambda: state.get_or_set("inner", lambda: 1))
        state.delete_many("made", "inner")
        return state

    @pytest.mark.needs("keys", "once")
    def test_not_listed(self, state):
        """No record but the values is among the keys."""
        assert state.keys() == ["key"]
        assert listed(state) == [("key", 1, 0)]
        assert state.keys("job") == state.keys("token") == []

    @pytest.mark.needs("keys", "once")
    def test_not_reached(self, state):
        """No prefix of keys leads to them."""
        for asked in ["\0", "\0lock:", "\0once:", "\0fence:", "\0lock:a"]:
            with contextlib.suppress(InvalidKey):
                assert state.keys(asked) == []
                assert state.items(asked) == ([], None)

    @pytest.mark.needs("keys", "once")
    def test_no_cursor_leads_there(self, state):
        """No cursor that names one of them shows it."""
        for shape in CURSORS:
            hidden, _ = state.store.page(b"\0", None, 1000)
            assert any(b"lock" in key for key in hidden)
            for key in hidden:
                for name in (key, key[1:], key.removeprefix(state.physical_prefix)):
                    with contextlib.suppress(InvalidKey):
                        page, _ = state.items(cursor=shape.format(name.hex()))
                        assert [item.key for item in page] in ([], ["key"])
            self.lock.renew()

    @pytest.mark.needs("once")
    def test_not_cleared(self, state):
        """A state that is cleared keeps its locks, fences and tokens."""
        state.clear()
        assert state.get("key") is None
        assert not state.lock("job").try_acquire()
        assert state.inc("key", once="token") == 1
        assert state.get("key") is None
        self.lock.release()
        assert state.lock("job").acquire().fence > self.lock.fence

    @pytest.mark.needs("once")
    def test_names_are_apart(self, state):
        """A value, a lock and a token of one name have nothing to do with each other."""
        state.set_many({"job": "value", "token": "value"})
        assert not state.lock("job").try_acquire()
        assert state.inc("key", once="token") == 1
        assert state.inc("key", once="job") == 2
        assert state.get_many("job", "token") == ["value", "value"]


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
