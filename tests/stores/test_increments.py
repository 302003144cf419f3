"""Increments on filesystem: what a process knows of a counter is right, or is not used."""

from __future__ import annotations

import random

import pytest
from backends import innermost

from sharedstate import NotACounter, OutOfBounds, State
from sharedstate.stores.filesystem.store import FilesystemStore


@pytest.fixture
def states(tmp_path):
    """Two, as two processes have them."""
    found = [State(FilesystemStore(tmp_path)) for _ in range(2)]
    yield found
    for state in found:
        state.store.close()


def swaps(state, key="n"):
    """Whether the next increment is tried as a swap."""
    return state.keyspace.key(key) in innermost(state.store)._increments._known


def test_alone(states):
    """Who increments a counter alone swaps from the third time on."""
    one, _ = states
    assert [one.inc("n"), swaps(one), one.inc("n"), swaps(one)] == [1, False, 2, True]
    assert [one.inc("n", 5), one.dec("n", 3), one.get("n")] == [7, 4, 4]


def test_others_between(states):
    """Whatever others do between, each number is the next one."""
    dice = random.Random(1)
    for number in range(1, 300):
        state = states[0] if dice.random() < 0.8 else states[1]
        assert state.inc("n") == number


@pytest.mark.parametrize(
    "between, expected",
    [
        (lambda state: state.set("n", 10), 11),
        (lambda state: state.delete("n"), 1),
        (lambda state: state.touch("n", 60), 4),
    ],
)
def test_changed_between(states, between, expected):
    """A counter that was set, removed or touched by others counts from what it is now."""
    one, other = states
    assert [one.inc("n") for _ in range(3)] == [1, 2, 3]
    between(other)
    assert one.inc("n") == expected
    assert other.get("n") == expected


def test_no_counter_any_more(states):
    """What others have made no counter is refused, and stays."""
    one, other = states
    assert [one.inc("n") for _ in range(3)] == [1, 2, 3]
    other.set("n", "text")
    with pytest.raises(NotACounter):
        one.inc("n")
    assert other.get("n") == "text"


def test_expired(states):
    """A counter that has expired begins anew, with its time."""
    one, _ = states
    now = [1000.0]
    one.store.clock = lambda: now[0]
    assert [one.inc("n", timeout=10) for _ in range(3)] == [1, 2, 3]
    now[0] += 11
    assert one.inc("n", timeout=10) == 1
    assert one.ttl("n") == 10


def test_bounds(states):
    """The bounds hold, of a known number too."""
    one, _ = states
    assert [one.inc("n", maximum=3) for _ in range(3)] == [1, 2, 3]
    with pytest.raises(OutOfBounds):
        one.inc("n", maximum=3)
    with pytest.raises(OutOfBounds):
        one.dec("n", minimum=3)
    one.set("n", 2**63 - 2)
    assert [one.dec("n"), one.inc("n"), one.inc("n")] == [2**63 - 3, 2**63 - 2, 2**63 - 1]
    with pytest.raises(OutOfBounds):
        one.inc("n")
    assert one.get("n") == 2**63 - 1


def test_many_keys(states, monkeypatch):
    """What is remembered is bounded."""
    monkeypatch.setattr("sharedstate.stores.filesystem.increments._MAX_KEYS", 5)
    one, _ = states
    for _ in range(3):
        assert len({one.inc(f"n{i}") for i in range(12)}) == 1
    assert len(innermost(one.store)._increments._returned) <= 5
