"""Counters and dictionaries that are shared, on every store."""

# ruff: noqa: F811  # the fixtures that are imported are arguments of the tests

import pytest
from backends import ONE_OF_EACH_KIND
from shared_objects import (
    Maker,
    maker,  # noqa: F401  # fixtures
)

from sharedstate import (
    NotSupported,
    OutOfBounds,
)

pytestmark = ONE_OF_EACH_KIND


class TestCounter:
    def test_numbers(self, maker, state):
        """It gives 1, 2, 3, …, which are those of the key, and starts anew when it is reset."""
        counter = maker.counter("n")
        assert [next(counter), next(counter), counter.inc(3), counter.dec()] == [1, 2, 5, 4]
        assert (counter.value, int(counter), state.get("n")) == (4, 4, 4)
        counter.reset()
        assert (counter.value, next(counter)) == (0, 1)

    def test_bounds(self, maker):
        """It starts from its initial number and stays in its bounds."""
        counter = maker.counter("n", initial=10, maximum=12)
        assert [counter.value, next(counter), next(counter)] == [10, 11, 12]
        with pytest.raises(OutOfBounds):
            next(counter)
        assert counter.value == 12

    @pytest.mark.needs("once")
    def test_once(self, maker):
        """A token's increment is applied one time."""
        counter = maker.counter("n")
        assert [counter.inc(once="t"), counter.inc(once="t"), counter.inc()] == [1, 1, 2]


@pytest.mark.needs("keys")
class TestDict:
    def test_a_mapping(self, maker):
        """It does what a dictionary does."""
        items = maker.dict("items")
        items["a"], items["b"] = 1, [2]
        assert (items["a"], "b" in items, "c" in items, 5 in items) == (1, True, False, False)
        assert (len(items), sorted(items), dict(items)) == (2, ["a", "b"], {"a": 1, "b": [2]})
        assert sorted(items.items(), key=str) == [("a", 1), ("b", [2])]
        assert sorted(items.values(), key=str) == [1, [2]]
        assert items == {"a": 1, "b": [2]}
        del items["a"]
        for use in (lambda: items["a"], lambda: items.__delitem__("a"), lambda: items.pop("a")):
            with pytest.raises(KeyError):
                use()
        assert (items.pop("b"), items.pop("b", 3), items.get("b", 4)) == ([2], 3, 4)
        assert (items.setdefault("c", 5), items.setdefault("c", 6)) == (5, 5)
        items.update(d=7)
        items.clear()
        assert dict(items) == {}

    def test_apart(self, maker, state):
        """Dictionaries are apart from each other and from all keys, whatever their names are."""
        names = ["a", "a/b", "a:b", "a%2Fb", "ä"]
        for name in names:
            maker.dict(name)["b:c"] = name
        maker.dict("a")["b/b:c"] = 0
        assert [maker.dict(name)["b:c"] for name in names] == names
        assert state.keys() == []
        assert list(maker.dict("a/b")) == ["b:c"]

    def test_one_step(self, maker):
        """Counting and changing are one step each."""
        items = maker.dict("items")
        assert [items.inc("n"), items.inc("n", 2)] == [1, 3]
        assert items.change("n", lambda n: n * 10) == 30
        assert items.change("new", lambda n: n + 1, default=0) == 1

    def test_expires(self, maker, clock):
        """An item ends by itself; storing, changing and touching it renews that, counting not."""
        items = maker.dict("items", timeout=100)
        items["set"] = 1
        items.inc("counted")
        items["changed"] = items["touched"] = 1
        clock.advance(60)
        items["set"] = 2
        items.inc("counted")
        items.change("changed", lambda n: n + 1)
        assert items.touch("touched")
        clock.advance(60)
        assert sorted(items) == ["changed", "set", "touched"]
        clock.advance(60)
        assert list(items) == [] and not items.touch("touched")


def test_a_dict_needs_no_listing_for_its_items(state):
    """On a store that cannot list keys the items work, and what lists them says so."""
    items = Maker(state).dict("items")
    items["a"] = 1
    assert items["a"] == 1
    if "keys" not in state.store.can:
        with pytest.raises(NotSupported):
            list(items)
