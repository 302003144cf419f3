"""A store that tells somebody of each operation."""

from __future__ import annotations

from typing import Any

import pytest

from sharedstate import NotACounter, State
from sharedstate.stores.guards.breaker import Breaker
from sharedstate.stores.guards.observed import Observed
from sharedstate.stores.memory import MemoryStore

Told = list[tuple[str, BaseException | None, Any]]


@pytest.fixture
def told() -> Told:
    return []


@pytest.fixture
def state(told: Told) -> State:
    def observe(name: str, error: BaseException | None, result: Any) -> None:
        told.append((name, error, result))

    return State(Observed(Breaker(MemoryStore()), observe))


def test_operations_are_told_with_their_results(state: State, told: Told) -> None:
    """Each operation works as without an observer, who hears its name and result."""
    assert state.inc("a") == 1
    assert state.compare_and_set("a", 2, 3) is False
    assert state.get("a") == 1
    assert state.ttl("a") == 0
    assert state.keys() == ["a"]
    assert state.inc_many({"a": 1, "b": 1}) == {"a": 2, "b": 1}
    state.clear()
    state.store.ping()
    assert [(name, error) for name, error, _ in told] == [
        ("Increment", None),
        ("Swap", None),
        ("values", None),
        ("read", None),
        ("page", None),
        ("Batch", None),
        ("clear", None),
        ("ping", None),
    ]
    assert told[0][2] == 1
    assert told[1][2][0] is False


def test_errors_are_told_and_raised(state: State, told: Told) -> None:
    """An operation that raises is told with its error, which the caller gets too."""
    state.set("a", "text")
    with pytest.raises(NotACounter) as caught:
        state.inc("a")
    assert told[-1] == ("Increment", caught.value, None)

    def fail(*arguments: Any) -> Any:
        raise KeyboardInterrupt

    state.store._store._store.values = fail  # type: ignore[attr-defined]
    with pytest.raises(KeyboardInterrupt) as stopped:
        state.get("a")
    assert told[-1] == ("values", stopped.value, None)


def test_namespaces_and_locks_are_told_of_too(state: State, told: Told) -> None:
    """What a state makes of itself stands on the observed store."""
    with state.lock("a"):
        names = [name for name, _, _ in told]
    assert names == ["Add", "Increment", "Swap"]


def test_it_is_as_the_store_that_it_observes(state: State) -> None:
    """Its name, scope, abilities, clock, time-out and description are those of the store."""
    inner = state.store._store._store  # type: ignore[attr-defined]
    for name in ("name", "scope", "can", "has_server", "timeout", "clock"):
        assert getattr(state.store, name) == getattr(inner, name)
    assert state.store.describe() == inner.describe()
    assert list(state.store.servers_of([b"a"])) == list(inner.servers_of([b"a"]))
    state.store.clock = lambda: 7.0
    assert inner.clock() == 7.0
    assert state.store.measure() == inner.measure()
    assert state.store.purge() == 0
    state.close()
    with pytest.raises(TypeError, match="before a store that exists"):
        Observed.from_settings({})
