"""Keys are listed on every store, page by page, whatever they look like."""

import contextlib

import pytest
from backends import IN_THE_STATE, about
from listing import CURSORS, listed

from sharedstate import ABSENT, InvalidKey, NotSerializable, State
from sharedstate.stores.operations import Put

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
