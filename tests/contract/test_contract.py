"""What a store says about itself, and what holds among several states on one store."""

import pytest

from sharedstate import InvalidKey, NotSupported, State
from sharedstate.stores.memory import MemoryStore
from sharedstate.stores.registry import open_store


def test_store_is_what_the_table_says(backend, store):
    """A store's name, scope and abilities are those that this suite expects of it."""
    assert (store.name, store.scope, store.can) == (backend.name, backend.scope, backend.can)


def test_ping(store):
    """A ping of a store that can be reached returns nothing and raises nothing."""
    assert store.ping() is None


def test_describe(store):
    """A store says in words where its records are and what a power cut does to them."""
    described = store.describe()
    assert set(described) == {"location", "durability"}
    assert all(isinstance(text, str) and text for text in described.values())


def test_states_share_a_store(state, store):
    """Two states with the same prefix on one store are one state."""
    other = State(store, prefix=state.key_prefix)
    state.set("key", "value")
    assert other.get("key") == "value"
    assert other.inc("hits") == 1
    assert state.inc("hits") == 2


@pytest.mark.parametrize("name", ["key", "name"])
def test_prefixes_are_apart(store, name):
    """States with different prefixes hold the same key each for itself."""
    one, two = State(store, prefix="one:"), State(store, prefix="two:")
    one.set(name, 1)
    two.set(name, 2)
    assert (one.get(name), two.get(name)) == (1, 2)


@pytest.mark.parametrize("name", ["once", "lock", "other"])
def test_namespaces_are_apart(state, name):
    """A namespace holds the same key for itself."""
    space = state.namespace(name)
    space.set("key", "in")
    assert state.get("key") is None
    state.set("key", "out")
    assert space.get("key") == "in"
    state.clear()
    assert (state.get("key"), space.get("key")) == (None, "in")


def test_names_of_namespaces_stand_apart_from_keys():
    """A name that a key could go on with is refused: its records would be taken for others."""
    state = State(MemoryStore())
    for name in ("", "a:b", "a\0b", "a\n", 5):
        with pytest.raises(InvalidKey, match="name of a namespace"):
            state.namespace(name)
    assert state.namespace("a").namespace("b").set("c:d", 1)
    assert state.namespace("a/b").get("c:d") == 1


@pytest.mark.needs("keys")
def test_namespaces_list_their_own_keys(state):
    """A namespace's keys are not among those that its state lists, and the other way round."""
    state.set("out", 1)
    space = state.namespace("other")
    space.set("in", 1)
    assert (state.keys(), space.keys()) == (["out"], ["in"])


@pytest.mark.needs("once")
def test_namespaces_have_their_own_once_tokens(state):
    """A token that came in one namespace is a new one in another."""
    space = state.namespace("other")
    assert state.inc("hits", once="token") == 1
    assert space.inc("hits", 5, once="token") == 5
    assert space.inc("hits", 5, once="token") == 5
    assert space.get("hits") == 5


def test_namespaces_have_their_own_locks(state):
    """A lock that is held in one namespace is free in another."""
    assert state.lock("job").try_acquire()
    assert state.namespace("other").lock("job").try_acquire()


def test_close_and_go_on(state):
    """A closed store opens again when it is next used, and has what it had."""
    state.set("key", "value")
    state.close()
    assert state.get("key") == "value"
    state.close()
    assert state.inc("hits") == 1


def test_close_twice(store):
    """A store that is not open can be closed."""
    store.close()
    store.close()


def test_opened_again_elsewhere(backend, cache_settings, state):
    """Whoever opens the same store later finds what it holds, unless it is one process's memory."""
    state.set("key", "value")
    second = open_store(cache_settings)
    expected = None if backend.scope == "process" else "value"
    assert State(second, prefix=state.key_prefix).get("key") == expected
    second.close()


class Modest(MemoryStore):
    """A store that can do what every store can, and nothing else."""

    can = frozenset()


@pytest.mark.parametrize(
    "operation",
    [
        lambda state: state.inc("hits", once="token"),
        lambda state: state.inc_many({"hits": 1}),
        lambda state: state.keys(),
        lambda state: state.items(),
    ],
)
def test_not_supported(operation):
    """What a store cannot do exactly it refuses, and nothing changes."""
    state = State(Modest())
    with pytest.raises(NotSupported, match="simple"):
        operation(state)
    assert not state.has("hits")


def test_many_without_transactions():
    """Without transactions the other operations on many keys do one after the other."""
    state = State(Modest())
    assert state.set_many({"a": 1, "b": 2}) == ["a", "b"]
    assert state.get_many("a", "b", "c") == [1, 2, None]
    assert state.delete_many("a", "c") == ["a"]
