"""What operations leave behind: nothing for the garbage collector, and few calls of the store."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from sharedstate import State
from sharedstate.stores.guards.observed import Observed
from sharedstate.stores.memory import MemoryStore


def lock(state: State, n: int) -> None:
    with state.lock(f"lock{n}"):
        pass


OPERATIONS: dict[str, Callable[[State, int], Any]] = {
    "inc": lambda state, n: state.inc("n"),
    "inc once": lambda state, n: state.inc("n", once=f"token{n}"),
    "lock": lock,
    "update": lambda state, n: state.update("n", lambda value: value + 1, default=0),
    "get_or_set": lambda state, n: state.get_or_set(f"made{n}", lambda: n),
    "batch": lambda state, n: state.batch().apply_each(),
    "namespace": lambda state, n: state.namespace(f"name{n}").set("key", n),
    "state": lambda state, n: State(state.store).update("n", lambda value: 1),
}


@pytest.fixture(scope="module", autouse=True)
def old_objects() -> Iterator[None]:
    """The collector passes over all that was there before: it would take seconds each time."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture
def collected() -> Any:
    """Returns how many objects only the garbage collector could remove."""
    gc.collect()
    gc.disable()
    yield gc.collect
    gc.enable()


@pytest.mark.parametrize("name", OPERATIONS)
def test_no_garbage(name: str, collected: Callable[[], int]) -> None:
    """An operation leaves no circle of objects behind, nor does a state."""
    state = State(MemoryStore())
    operation = OPERATIONS[name]
    operation(state, 0)
    collected()
    for n in range(100):
        operation(state, n)
    assert collected() == 0


def test_namespace_is_kept() -> None:
    """The same name gives the same state, until the one that it is of is given another store."""
    state = State(MemoryStore())
    space = state.namespace("a")
    assert state.namespace("a") is space
    assert state.namespace("b") is not space
    state.store = other = MemoryStore()
    assert state.namespace("a").store is other
    state.max_value_bytes = 5
    assert state.namespace("a").max_value_bytes == 5


def test_namespaces_are_bounded() -> None:
    """However many names there are, a state keeps few of them."""
    state = State(MemoryStore())
    spaces = [weakref.ref(state.namespace(f"n{n}")) for n in range(1000)]
    assert sum(space() is not None for space in spaces) < 100


def test_calls_of_get_or_set() -> None:
    """A miss reads, claims, reads again, adds and drops the claim; a hit reads."""
    calls: list[str] = []
    state = State(Observed(MemoryStore(), lambda name, error, result: calls.append(name)))
    assert state.get_or_set("key", lambda: 1) == 1
    assert calls == ["values", "Add", "values", "Add", "Swap"]
    calls.clear()
    assert state.get_or_set("key", lambda: 2) == 1
    assert calls == ["values"]
