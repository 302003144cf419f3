"""The checker with operations that have no response, and the shortest wrong history."""

from __future__ import annotations

import math
import random

import pytest

from torture.judging.key_model import MISSING, Inc, one_key
from torture.judging.linearizability import Event, TooHard, linearizable
from torture.judging.shortest import shortest

LOST = math.inf
CHOICES = [
    ("get", None), ("set", 0), ("set", 1), ("set", 2), ("inc", Inc()), ("inc", Inc(2)),
    ("delete", None), ("add", 7), ("exchange", 3),
]  # fmt: skip


def in_any_order(events: list[Event], done: frozenset[int], state: object) -> bool:
    """The definition: whether an order exists, found by trying all."""
    if all(event.is_open or index in done for index, event in enumerate(events)):
        return True
    for index, event in enumerate(events):
        left = [other for at, other in enumerate(events) if at not in done]
        if index in done or any(other.ended < event.started for other in left):
            continue
        result, after = one_key(state, event.operation, event.argument)
        if (event.is_open or result == event.result) and in_any_order(
            events, done | {index}, after
        ):
            return True
    return False


def some_history(dice: random.Random) -> list[Event]:
    """Up to seven operations that overlap, some without a response and some with a wrong one."""
    state: object = MISSING
    history = []
    for moment in range(dice.randint(1, 7)):
        operation, argument = dice.choice(CHOICES)
        result, after = one_key(state, operation, argument)
        is_lost = dice.random() < 0.3
        if not is_lost or dice.random() < 0.5:
            state = after
        if dice.random() < 0.1:
            result = dice.choice([True, False, 1, 2, 3])
        started, ended = moment - 2 * dice.random(), moment + 2 * dice.random()
        event = Event(0, operation, argument, result, started, ended)
        history.append(event._replace(result=None, ended=LOST) if is_lost else event)
    return history


def test_as_the_definition_says() -> None:
    """The search finds an order exactly where trying all orders finds one."""
    dice = random.Random(1)
    found = []
    for _ in range(1000):
        history = some_history(dice)
        found.append(linearizable(history, one_key))
        assert found[-1] == in_any_order(history, frozenset(), MISSING), history
    assert 0.1 < sum(found) / len(found) < 0.9


def test_many_lost() -> None:
    """A hundred operations without a response are no more than what they can explain."""
    incs = [Event(0, "inc", Inc(), None, moment, LOST) for moment in range(100)]
    sets = [Event(0, "set", 1000 * moment, None, moment, LOST) for moment in range(1, 10)]
    last = Event(1, "get", None, 5050, 300.0, 301.0)
    assert linearizable([*incs, *sets, last], one_key, limit=100_000)
    assert not linearizable([*incs, *sets, last._replace(result=5101)], one_key, limit=100_000)


def test_too_hard() -> None:
    """It is given up, with an error, when more is to be tried than is allowed."""
    history = [Event(0, "inc", Inc(), number, 0.0, 9.0) for number in (1, 2, 4)]
    with pytest.raises(TooHard):
        linearizable(history, one_key, limit=1)


def test_shortest() -> None:
    """What proves nothing is dropped: what came before, what came after, and what had no effect."""
    history = [
        Event(0, "set", 5, True, 0.0, 1.0),
        Event(0, "get", None, 5, 2.0, 3.0),
        Event(1, "add", 9, False, 2.5, 4.5),
        Event(0, "inc", Inc(), 6, 3.5, 5.0),
        Event(1, "inc", Inc(), 6, 4.0, 6.0),
        Event(0, "inc", Inc(), 7, 7.0, 8.0),
    ]
    found, initial = shortest(history, one_key)
    assert (found, initial) == (history[3:5], 5)
    assert not linearizable(found, one_key, initial)
