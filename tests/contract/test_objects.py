"""Objects of any class, counters and dictionaries, on every store."""

# ruff: noqa: F811  # the fixtures that are imported are arguments of the tests

import threading
from functools import partial

import crowd
import pytest
from backends import BACKENDS, CROWDS, ON_ALL, ONE_OF_EACH_KIND
from get_then_set import chances
from shared_objects import (
    Maker,
    SomeObj,
    maker,  # noqa: F401  # fixtures
)

from race.judging import checkers
from sharedstate import (
    Deadlock,
    LockLost,
    LockTimeout,
    State,
    shared,
)

pytestmark = ONE_OF_EACH_KIND


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
