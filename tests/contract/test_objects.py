"""Objects of any class, counters and dictionaries, on every store."""

import threading
from dataclasses import dataclass, field
from functools import partial

import crowd
import pytest
from backends import BACKENDS, CROWDS, ON_ALL, ONE_OF_EACH_KIND
from flask import Flask
from get_then_set import chances

from race.judging import checkers
from sharedstate import (
    Cache,
    Deadlock,
    LockLost,
    LockTimeout,
    NotSerializable,
    NotSupported,
    OutOfBounds,
    State,
    shared,
)
from sharedstate.objects import Objects
from sharedstate.stores.memory import MemoryStore

pytestmark = ONE_OF_EACH_KIND


class SomeObj:
    """The object of the question."""

    made = 0

    def __init__(self, param):
        type(self).made += 1
        self.param = param

    def query(self):
        self.param += 1
        return self.param

    def look(self):
        return self.param

    def fail(self):
        self.param = "broken"
        raise ZeroDivisionError

    def me(self):
        self.param += 1
        return self

    def later(self):
        self.param += 1
        yield self.param

    async def awaited(self):
        return self.param

    @property
    def double(self):
        return 2 * self.param

    @classmethod
    def named(cls):
        return cls.__name__

    @staticmethod
    def twice(n):
        return 2 * n


class Maker(Objects):
    """As a cache: it has a state."""

    def __init__(self, state):
        self.state = state


@pytest.fixture
def maker(state):
    return Maker(state)


@pytest.fixture
def thing(maker):
    SomeObj.made = 0
    return maker.object("thing", SomeObj, 0)


def swaps(state):
    """The compare-and-swaps that the state's store does from now on."""
    seen = []
    transact = state.store.transact

    def counting(keys, operation):
        seen.append(type(operation).__name__)
        return transact(keys, operation)

    state.store.transact = counting
    return seen


class TestObject:
    def test_a_call_is_a_step(self, thing, maker):
        """Each call sees what the last one left, through whichever object of this name."""
        assert [thing.query(), thing.query()] == [1, 2]
        assert maker.object("thing", SomeObj, 0).query() == 3
        assert maker.object("other", SomeObj, 10).query() == 11

    def test_made_once(self, thing, maker):
        """The object is made on first use, and once for all."""
        assert SomeObj.made == 0
        assert thing.param == 0
        assert maker.object("thing", SomeObj, 77).query() == 1
        assert SomeObj.made == 1

    def test_json(self, json_state):
        """Where its state is JSON, it can be kept as JSON, without the path of its class."""
        thing = Maker(json_state).object("thing", SomeObj, 0)
        assert thing.query() == 1
        records = json_state.namespace("object")
        (raw,) = records.store.values([records.keyspace.key("thing")])
        assert b"SomeObj" not in raw
        assert records.get("thing") == {"state": {"param": 1}}

    def test_only_changes_are_written(self, thing, state):
        """A method that changes nothing writes nothing, nor does the reading of attributes."""
        thing.query()
        seen = swaps(state)
        assert (thing.look(), thing.param, thing.double) == (1, 1, 2)
        assert seen == []
        thing.query()
        assert seen == ["Swap"]

    def test_raising_changes_nothing(self, thing):
        """What a method has changed before it raised is gone."""
        thing.query()
        with pytest.raises(ZeroDivisionError):
            thing.fail()
        assert thing.param == 1

    def test_assigning_raises(self, thing):
        """An attribute cannot be assigned, and the error says what can be done."""
        with pytest.raises(AttributeError, match="change"):
            thing.param += 1
        with pytest.raises(AttributeError, match="change"):
            del thing.param
        assert thing.change(lambda it: setattr(it, "param", it.param + 5)) is None
        assert thing.param == 5
        with pytest.raises(AttributeError):
            thing.missing  # noqa: B018

    def test_later_is_refused(self, thing):
        """A generator or coroutine would run after its step: it is refused, and nothing changes."""
        for method in (thing.later, thing.awaited):
            with pytest.raises(TypeError, match="after its step"):
                method()
        assert thing.param == 0

    def test_self(self, thing):
        """A method that returns the object returns the shared one."""
        assert thing.me() is thing
        assert thing.me().me().param == 3

    def test_looks_like_its_class(self, thing):
        """It is an instance of its class, and has its class methods and static methods."""
        assert isinstance(thing, SomeObj)
        assert (thing.named(), thing.twice(4)) == ("SomeObj", 8)
        assert "query" in dir(thing)
        assert repr(thing) == "<shared SomeObj 'thing'>"

    def test_nested(self, thing, maker):
        """A step may use another object; the same one again could never end."""
        other = maker.object("other", SomeObj, 0)
        assert thing.change(lambda it: other.query() + it.query()) == 2
        with pytest.raises(Deadlock):
            thing.change(lambda it: (it.query(), thing.query()))

    def test_reset(self, thing):
        """The handle forgets the state; a private copy is nobody else's."""
        thing.query()
        copy = shared(thing).read()
        copy.query()
        assert (copy.param, thing.param) == (2, 1)
        shared(thing).reset()
        assert thing.query() == 1
        with pytest.raises(TypeError, match="no shared object"):
            shared(SomeObj(0))


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


class TestLocked:
    def test_nobody_between(self, thing):
        """Calls wait until the block is over; what it has made of the object is stored then."""
        thing.query()
        numbers = []
        began = threading.Event()

        def query():
            began.set()
            numbers.append(thing.query())

        with thing.locked() as it:
            other = threading.Thread(target=query)
            other.start()
            began.wait(10)
            it.param = 50
            assert thing.param == 1
        other.join(30)
        assert (numbers, thing.param) == ([51], 51)

    def test_raising_changes_nothing(self, thing):
        """If the block raises, the object is free again, and as it was."""
        with pytest.raises(ZeroDivisionError), thing.locked() as it:
            it.param = 50
            raise ZeroDivisionError
        assert thing.query() == 1

    def test_waiting_is_bounded(self, thing):
        """A second block waits as long as it says; one of the same thread would never end."""
        with thing.locked():
            raised = []

            def lock():
                with pytest.raises(LockTimeout), thing.locked(wait=0.02):
                    pass
                raised.append(True)

            other = threading.Thread(target=lock)
            other.start()
            other.join(30)
            assert raised
            with pytest.raises(Deadlock):
                thing.query()

    def test_left_by_the_dead(self, thing, clock):
        """Once the lease of one that died has ended, a step goes on with the last state."""
        thing.query()
        handle = shared(thing)
        dead = threading.Thread(target=lambda: handle._mark(handle._lock(100, 0).acquire()))
        dead.start()
        dead.join(30)
        clock.advance(110)
        assert thing.query() == 2
        assert thing.query() == 3

    def test_lease_ended(self, thing, clock):
        """A block that took too long stores nothing over what others have made meanwhile."""
        with pytest.raises(LockLost), thing.locked(lease=100) as it:
            clock.advance(110)
            other = threading.Thread(target=thing.query)
            other.start()
            other.join(30)
            it.param = 50
        assert thing.param == 1

    def test_late_comer(self, thing):
        """One that was stopped until its lease had ended takes nothing from who came after it."""
        handle = shared(thing)
        lock = handle._lock(30, 0).acquire()
        lock.release()
        with thing.locked() as it:
            with pytest.raises(LockLost):
                handle._mark(lock)
            it.param = 50
        assert thing.query() == 51


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


# The race: the question's object, as all processes share it, and as people read and store it.


def query(state, me, times):
    thing = Maker(state).object("thing", SomeObj, 0)
    for _ in range(times):
        yield thing.query


def read_then_store(state, me, times):
    """The negative control."""
    handle = shared(Maker(state).object("thing", SomeObj, 0))
    for _ in range(times):
        yield partial(_query_unguarded, handle)


def _query_unguarded(handle):
    copy = handle.read()
    number = copy.query()
    handle._records().set(handle.name, {"state": {"param": copy.param}})
    return number


def in_blocks(state, me, times):
    """Some in blocks that have it locked, beside calls."""
    thing = Maker(state).object("thing", SomeObj, 0)
    for i in range(times):
        yield thing.query if (i + me) % 3 else partial(_query_in_block, thing)


def _query_in_block(thing):
    with thing.locked(wait=60) as it:
        return it.query()


def param(state):
    return Maker(state).object("thing", SomeObj, 0).param


@ON_ALL
@pytest.mark.slow
@pytest.mark.parametrize("work", [query, in_blocks])
@pytest.mark.parametrize("backend, kind", CROWDS)
def test_race(backend, kind, work, race_settings):
    """Each number once, on every store."""
    open_state = partial(State.from_settings, race_settings)
    outcome = crowd.run(kind, open_state, partial(work, times=12), 8, param)
    numbers = [call.result for call in outcome.answers]
    assert checkers.exactly_one_to(numbers, 96)
    assert outcome.found == 96


@pytest.mark.slow
@pytest.mark.parametrize("backend", [b for b in BACKENDS if b.id == "filesystem"], ids=["files"])
def test_race_control(backend, cache_settings):
    """Reading the object and storing it gives numbers twice."""
    work = partial(read_then_store, times=20)
    outcomes = (crowd.run("forked", each, work, 5, param) for each in chances(cache_settings))
    assert not all(
        checkers.exactly_one_to([call.result for call in outcome.answers], 100)
        for outcome in outcomes
    )
