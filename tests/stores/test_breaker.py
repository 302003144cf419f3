"""The circuit breaker before a store that may be out of reach."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from unittest.mock import Mock

import pytest

from sharedstate import State, StoreUnavailable
from sharedstate.stores.guards import breaker
from sharedstate.stores.guards.breaker import PROBE_SECONDS, Breaker
from sharedstate.stores.memory import MemoryStore


class Unreliable(MemoryStore):
    """A store that is down when it is told to be, and counts who asks."""

    down = False
    asked = 0

    def values(self, keys):
        self.asked += 1
        if self.down:
            raise StoreUnavailable("the server is down")
        return super().values(keys)


@pytest.fixture
def now(monkeypatch):
    """The time that breakers see, in a list of one."""
    now = [1000.0]
    monkeypatch.setattr(breaker.time, "monotonic", lambda: now[0])
    return now


@pytest.fixture
def store():
    return Unreliable()


@pytest.fixture
def state(store):
    return State(Breaker(store))


def fail(state):
    with pytest.raises(StoreUnavailable) as caught:
        state.get("a")
    return str(caught.value)


def test_it_lets_everything_through(state, store):
    """A store that responds is asked each time, and all of the contract works."""
    assert state.inc("a") == 1
    assert [state.get("a") for _ in range(3)] == [1, 1, 1]
    assert store.asked == 3
    assert state.keys() == ["a"]
    assert state.ttl("a") == 0
    state.clear()
    assert state.get("a") is None


def test_after_a_failure_nothing_is_asked_for_a_second(state, store, now):
    """Calls fail at once while it is open, with the reason, and nothing was sent."""
    store.down = True
    assert fail(state) == "the server is down"
    for _ in range(5):
        assert "the server is down" in fail(state)
    assert store.asked == 1


def test_one_call_a_second_tries(state, store, now):
    """When the second is over one of many callers is let through, and only one."""
    store.down = True
    fail(state)
    for round_ in range(2, 5):
        now[0] += PROBE_SECONDS + store.timeout
        gate = threading.Barrier(8)

        def ask(gate=gate):
            gate.wait()
            fail(state)

        with ThreadPoolExecutor(8) as threads:
            for done in [threads.submit(ask) for _ in range(8)]:
                done.result()
        assert store.asked == round_


def test_nobody_else_tries_while_one_still_waits(state, store, now, monkeypatch):
    """A call that is let through has the store's whole timeout before the next one may try."""
    assert store.timeout > PROBE_SECONDS
    store.down = True
    fail(state)
    now[0] += PROBE_SECONDS
    meanwhile = []

    def wait(keys):
        monkeypatch.undo()
        monkeypatch.setattr(breaker.time, "monotonic", lambda: now[0])
        now[0] += store.timeout - 0.1
        meanwhile.append(fail(state))
        raise StoreUnavailable("the server is down")

    monkeypatch.setattr(store, "values", wait)
    fail(state)
    assert store.asked == 1
    assert "tried again within a second" in meanwhile[0]


def test_of_those_that_find_it_due_together_one_tries(state, store, now, monkeypatch):
    """Callers that all have seen that the second is over are still one that is let through."""
    store.down = True
    fail(state)
    now[0] += PROBE_SECONDS
    gate, arrived = threading.Barrier(8), set()

    def monotonic():
        if threading.current_thread() not in arrived:
            arrived.add(threading.current_thread())
            gate.wait(30)
        return now[0]

    monkeypatch.setattr(breaker.time, "monotonic", monotonic)
    with ThreadPoolExecutor(8) as threads:
        for done in [threads.submit(fail, state) for _ in range(8)]:
            done.result()
    assert store.asked == 2


def test_one_that_tries_and_learns_nothing(state, store, now):
    """Where the one that tries ends otherwise, as when it is interrupted, another one tries."""
    store.down = True
    fail(state)
    now[0] += PROBE_SECONDS
    with pytest.raises(KeyboardInterrupt):
        state.store._call((b"a",), Mock(side_effect=KeyboardInterrupt))
    fail(state)
    assert store.asked == 1
    store.down = False
    now[0] += PROBE_SECONDS + store.timeout
    assert state.get("a") is None


def test_it_recovers_by_itself(state, store, now):
    """A store that responds to the one that tries is there for all again."""
    state.set("a", 1)
    store.down = True
    fail(state)
    store.down = False
    fail(state)
    now[0] += PROBE_SECONDS
    assert [state.get("a") for _ in range(3)] == [1, 1, 1]


def test_each_server_has_its_own(store, now):
    """A server that is down does not keep callers from the others."""

    class TwoServers(Unreliable):
        def servers_of(self, keys):
            return {key[:1] for key in keys}

        def values(self, keys):
            self.down = keys[0].startswith(b"a")
            return super().values(keys)

    state = State(Breaker(TwoServers()))
    for _ in range(3):
        with pytest.raises(StoreUnavailable):
            state.get("a")
        assert state.get("b") is None
    assert state.store._store.asked == 4


def test_other_errors_do_not_open_it(state):
    """What is wrong with one call is not taken for a store that is down."""
    state.set("a", "text")
    with pytest.raises(TypeError):
        state.inc("a")
    assert state.get("a") == "text"
