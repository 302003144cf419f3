"""Objects of all kinds of classes: special methods, slots, states of their own."""

import threading
from dataclasses import dataclass, field

import pytest
from backends import ONE_OF_EACH_KIND
from flask import Flask
from shared_objects import Maker, SomeObj

from sharedstate import (
    Cache,
    NotSerializable,
    State,
)
from sharedstate.stores.memory import MemoryStore

pytestmark = ONE_OF_EACH_KIND


class Basket:
    """With what Python looks for in the class."""

    def __init__(self):
        self.items = {}

    def __setitem__(self, name, number):
        self.items[name] = number

    def __getitem__(self, name):
        return self.items[name]

    def __len__(self):
        return len(self.items)

    def __contains__(self, name):
        return name in self.items

    def __iter__(self):
        return iter(sorted(self.items))

    def __iadd__(self, name):
        self.items[name] = self.items.get(name, 0) + 1
        return self

    def __eq__(self, other):
        return self.items == other

    def __call__(self, factor):
        self.items = {name: factor * number for name, number in self.items.items()}


@dataclass(frozen=True, slots=True)
class Point:
    x: int = 1
    y: list = field(default_factory=list)

    def add(self, number):
        self.y.append(number)


class Growing:
    """A class that has grown an attribute since the state was stored."""

    def __init__(self):
        self.old, self.new = 1, 2


class Own:
    def __init__(self):
        self.lock = threading.Lock()
        self.number = 0

    def __getstate__(self):
        return [self.number]

    def __setstate__(self, state):
        self.lock = threading.Lock()
        (self.number,) = state

    def inc(self):
        with self.lock:
            self.number += 1
        return self.number


@pytest.fixture
def one():
    return Maker(State(MemoryStore()))


class TestClasses:
    """What kinds of classes there are is the same on every store."""

    def test_special_methods(self, one):
        """``len()``, ``[…]``, ``in``, ``+=`` and the like are steps too."""
        basket = one.object("basket", Basket)
        basket["a"] = 1
        basket += "b"
        basket += "b"
        assert (len(basket), basket["b"], "c" in basket, list(basket)) == (2, 2, False, ["a", "b"])
        basket(10)
        assert basket == {"a": 10, "b": 20}
        assert type(basket).__name__ == "SharedBasket"

    def test_slots_and_frozen(self, one):
        """Attributes in slots are kept, and those of a frozen class can be read back."""
        point = one.object("point", Point, 5)
        point.add(7)
        assert (point.x, point.y) == (5, [7])

    def test_upgrade(self, one):
        """An old state meets ``upgrade``, or the class's own ``__setstate__``."""
        one.state.namespace("object").set("growing", {"state": {"old": 10}})
        with pytest.raises(AttributeError, match="new"):
            one.object("growing", Growing).new  # noqa: B018
        fill = lambda it: it.__dict__.setdefault("new", 3)  # noqa: E731
        growing = one.object("growing", Growing, upgrade=fill)
        assert (growing.old, growing.new) == (10, 3)

    def test_own_state(self, one):
        """A class may say itself what its state is."""
        own = one.object("own", Own)
        assert [own.inc(), own.inc()] == [1, 2]
        assert one.state.namespace("object").get("own") == {"state": [2]}

    @pytest.mark.parametrize("kind", [list, type("Named", (dict,), {})])
    def test_state_elsewhere(self, one, kind):
        """A class whose state is not in attributes would lose it, and is refused."""
        with pytest.raises(NotSerializable, match="attribute"):
            one.object("thing", kind, {"a": 1}).change(len)

    def test_no_class(self, one):
        """What is no class is refused at once."""
        with pytest.raises(TypeError, match="class"):
            one.object("thing", lambda: SomeObj(0))

    def test_change_of_its_own(self, one):
        """A class's own method goes before what every shared object has."""

        class Changer:
            def change(self):
                return "own"

        assert one.object("changer", Changer).change() == "own"

    def test_at_module_level(self):
        """It can be made before there is an application, and is that of the current one."""
        cache = Cache()
        thing, counter = cache.object("thing", SomeObj, 0), cache.counter("counter")
        items = cache.dict("items")
        apps = [Flask("a"), Flask("b")]
        for app in apps:
            cache.init_app(app, config={"CACHE_TYPE": "simple"})
        for app in apps:
            with app.app_context():
                assert (thing.query(), next(counter), items.inc("a")) == (1, 1, 1)
