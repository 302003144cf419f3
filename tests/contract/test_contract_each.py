"""What every store makes of operations of several callers that are done together."""

import random

import pytest
from backends import about

from sharedstate import NotACounter, OutOfBounds, SharedStateError
from sharedstate.stores.operations import (
    KEEP,
    Add,
    Batch,
    Each,
    Exchange,
    Get,
    Increment,
    Once,
    Put,
    Remove,
    Swap,
    Touch,
)

NAMES = [b"a", b"b", b"c", b"d"]
VALUES = [b"1", b"41", b"text", b"%d" % (2**63 - 2), b""]


@pytest.fixture
def store(store, backend):
    if backend.name in {"manager", "memcached"}:
        pytest.skip(f"{backend.name} does one operation at a time")
    return store


def some_operation(rng):
    """One of the kinds of operations, on one or two of the names."""
    one = rng.sample(NAMES, 1)
    two = rng.sample(NAMES, 2)
    value, timeout = rng.choice(VALUES), rng.choice([0, 0, 1000])
    delta = rng.choice([1, 1, 5, -3])
    increment = rng.choice(
        [
            Increment(delta),
            Increment(delta, 10, timeout),
            Increment(delta, 0, 0, -5, 20),
        ]
    )
    batch = Batch([(0, Put(b"7", timeout)), (1, increment), (0, Get()), (1, Remove())])
    return rng.choice(
        [
            (one, Get()),
            (one, Put(value, timeout)),
            (one, Exchange(value, timeout)),
            (one, Add(value, timeout)),
            (one, Remove()),
            (one, Touch(timeout)),
            (one, Swap(rng.choice([None, *VALUES]), rng.choice([None, value]), KEEP, timeout)),
            (one, increment),
            (one, increment),
            (one, increment),
            ([b"token" + two[0], two[1]], Once(increment, two[1])),
            (two, batch),
        ]
    )


def alone(store, keys, operation):
    try:
        return store.transact(keys, operation)
    except SharedStateError as error:
        return error


def together(store, steps):
    """The results of the steps, done in one step of the store."""
    places = {key: None for keys, _ in steps for key in keys}
    places = {key: place for place, key in enumerate(places)}
    each = Each([(tuple(places[key] for key in keys), operation) for keys, operation in steps])
    return store.transact(list(places), each)


def comparable(result):
    """A result without what differs each time: an error's identity, a fraction of a second."""
    if isinstance(result, SharedStateError):
        return type(result), str(result), getattr(result, "step", None)
    if isinstance(result, tuple) and isinstance(result[1], float):
        return result[0], about(result[1])
    return [comparable(one) for one in result] if isinstance(result, list) else result


def beside(prefix, steps):
    return [([prefix + key for key in keys], operation) for keys, operation in steps]


@pytest.mark.parametrize("seed", range(4))
def test_equals_one_by_one(store, seed):
    """Done together, operations return what they return one after the other, and leave the same."""
    rng = random.Random(seed)
    names = NAMES + [b"token" + name for name in NAMES]
    for _ in range(4):
        steps = [some_operation(rng) for _ in range(12)]
        expected = [alone(store, *step) for step in beside(b"alone:", steps)]
        results = together(store, beside(b"each:", steps))
        assert [comparable(result) for result in results] == list(map(comparable, expected))
        left, kept = (
            store.read([prefix + name for name in names]) for prefix in (b"each:", b"alone:")
        )
        assert list(map(comparable, left)) == list(map(comparable, kept))


def test_one_that_is_refused_leaves_the_others(store):
    """Each is refused for itself, before and after others on the same key and on others."""
    store.transact([b"text"], Put(b"x", 0))
    steps = [
        ([b"n"], Increment(1)),
        ([b"n"], Increment(1, 0, 0, 0, 1)),
        ([b"text"], Increment(1)),
        ([b"n"], Increment(1)),
        ([b"new"], Increment(5, 0, 0, 0, 1)),
        ([b"m"], Increment(3)),
    ]
    first, bounded, text, second, new, third = together(store, steps)
    assert (first, second, third) == (1, 2, 3)
    assert isinstance(bounded, OutOfBounds)
    assert isinstance(text, NotACounter)
    assert isinstance(new, OutOfBounds)
    assert store.values([b"n", b"m", b"text", b"new"]) == [b"2", b"3", b"x", None]


def test_many_on_one_key(store):
    """A hundred increments of one counter return a hundred numbers, in their order."""
    steps = [([b"n"], Increment(1))] * 100
    assert together(store, steps) == list(range(1, 101))
    assert together(store, steps) == list(range(101, 201))


def test_one_gets(store):
    """Reading is an operation as well, alone and between others."""
    assert store.transact([b"n"], Get()) is None
    store.transact([b"n"], Put(b"1", 100))
    now = store.transact([b"n"], Get())
    assert now[0] == b"1"
    steps = [([b"n"], Get()), ([b"n"], Increment(1)), ([b"n"], Get()), ([b"none"], Get())]
    before, number, after, none = together(store, steps)
    assert (before[0], number, after[0], none) == (b"1", 2, b"2", None)
    assert before[1] == about(now[1])
    assert after[1] == about(now[1])
