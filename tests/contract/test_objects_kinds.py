"""Shared objects of unusual classes, and dictionaries that many empty at once."""

from collections import Counter, deque

import pytest

from sharedstate import NotSerializable
from sharedstate.testing import MemoryCache, race


@pytest.fixture
def shared_cache():
    return MemoryCache()


KINDS = [type(f"My{base.__name__}", (base,), {}) for base in (Counter, bytearray, deque, set)]


class Lenient:
    """Has any attribute, and passes what it has not to another object."""

    def __init__(self):
        self.inner = "text"
        self.count = 0

    def __getattr__(self, name):
        return getattr(self.inner, name)

    def query(self):
        self.count += 1
        return self.count


def test_attributes_of_a_class_that_is_asked_for_missing_ones(shared_cache):
    """``__getattr__`` is asked for what is missing only, and not before there is a state."""
    thing = shared_cache.object("thing", Lenient)
    assert thing.query() == 1
    assert (thing.count, thing.inner) == (1, "text")
    assert thing.upper() == "TEXT"
    with pytest.raises(AttributeError):
        _ = thing.nothing


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_state_elsewhere(shared_cache, kind):
    """A class that holds its state elsewhere than in attributes is refused: it would be lost."""
    thing = shared_cache.object("thing", kind)
    with pytest.raises(NotSerializable, match="keep that in an attribute"):
        thing.clear()


def test_popitem_gives_each_item_once(shared_cache):
    """Of many callers each gets an item of its own, and none is told that there is none left."""
    items = shared_cache.dict("items")
    items.update({f"{n}": n for n in range(8)})
    assert sorted(race(8, items.popitem)) == [(f"{n}", n) for n in range(8)]
    with pytest.raises(KeyError, match="empty"):
        items.popitem()


def test_popitem_loses_no_change(shared_cache, monkeypatch):
    """What others add to an item is in what is taken, or begins anew."""
    items = shared_cache.dict("items")
    items["n"] = 1
    pages = items.pages

    def changed():
        for item in pages():
            items.inc(item.key)
            yield item

    monkeypatch.setattr(items, "pages", changed)
    assert items.popitem() == ("n", 2)
