"""Histories of all operations on one key, on every store."""

from __future__ import annotations

import math
import random
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import crowd
import pytest
from backends import BACKENDS, Backend, meets
from crowd import GATE, Answer, Outcome
from get_then_set import controls
from races import Calls

from sharedstate import ABSENT, SharedStateError, State
from torture.judging.key_model import MISSING, CompareAndSet, Inc, Raised, Update, one_key
from torture.judging.linearizability import Event, linearizable

pytestmark = pytest.mark.slow

HISTORIES = 20
SLOW_HISTORIES = 8
WORKERS = 4
EVENTS = 8


def mixed(state: Any, me: int, choose: Callable[..., Any], n: int = HISTORIES) -> Calls:
    """Worker `me` of each history; the results are events, yet without their times."""
    for history in range(n):
        yield GATE
        dice = random.Random(f"{history}.{me}")
        for _ in range(EVENTS):
            yield partial(_do, state, f"history {history}", *choose(dice))


def any_operation(dice: random.Random) -> tuple[str, Any]:
    operation = dice.choice(
        ["get", "set", "add", "delete", "inc", "inc", "update", "compare_and_set"]
    )
    # Few values, so that they meet; one that is not a number, so that counters meet it.
    value = dice.choice([1, 2, 3, "text"])
    if operation == "inc":
        return operation, Inc(delta=dice.choice([1, -2]), initial=10, maximum=dice.choice([12, 99]))
    if operation == "update":
        return operation, Update(_change, default=5)
    if operation == "compare_and_set":
        return operation, CompareAndSet(dice.choice([1, 2, "text", MISSING]), value)
    return operation, value if operation in ("set", "add") else None


def inc_or_set(dice: random.Random) -> tuple[str, Any]:
    """What cachelib has, too."""
    return ("set", dice.randrange(100)) if dice.random() < 0.2 else ("inc", Inc())


def _change(value: Any) -> Any:
    return "text" if value == 3 else 3 if value == "text" else value + 7


def _do(state: Any, key: str, operation: str, argument: Any) -> tuple[str, str, Any, Any]:
    try:
        result = _DO[operation](state, key, argument)
    except SharedStateError as error:
        result = Raised(type(error).__name__)
    return key, operation, argument, result


def _inc(state: Any, key: str, inc: Inc) -> int:
    # Only what is asked for, as cachelib's knows no bounds.
    options = {
        name: asked for name, asked in inc._asdict().items() if asked != getattr(Inc(), name)
    }
    return state.inc(key, **options)


_DO: dict[str, Callable[[Any, str, Any], Any]] = {
    "get": lambda state, key, _: state.get(key, MISSING),
    "set": lambda state, key, value: state.set(key, value) is not False,
    "add": lambda state, key, value: state.add(key, value),
    "delete": lambda state, key, _: state.delete(key),
    "inc": _inc,
    "update": lambda state, key, update: state.update(key, update.change, default=update.default),
    "compare_and_set": lambda state, key, swap: state.compare_and_set(
        key, ABSENT if swap.expected is MISSING else swap.expected, swap.value
    ),
}


def histories(calls: list[Answer]) -> list[list[Event]]:
    by_key = defaultdict(list)
    for worker, (key, *event), started, ended in calls:
        by_key[key].append(Event(worker, *event, started, ended))
    return list(by_key.values())


@pytest.mark.parametrize(
    "backend, kind",
    [
        pytest.param(backend, kind, id=f"{kind}-{backend.id}")
        for kind in ("threads", "forked", "greenlets")
        for backend in BACKENDS
        if meets(backend, kind)
    ],
)
def test_linearizable(backend: Backend, kind: str, race_settings: dict[str, str]) -> None:
    """Mixed operations on one key happen one at a time, in an order that agrees with real time."""
    open_state = partial(State.from_settings, race_settings)
    n = SLOW_HISTORIES if backend.slow else HISTORIES
    work = partial(mixed, choose=any_operation, n=n)
    outcome = crowd.run(kind, open_state, work, WORKERS, partial(_values, n=n))
    found = histories(outcome.answers)
    assert len(found) == n
    for i, history in enumerate(found):
        assert linearizable([*history, _at_the_end(outcome, i)], one_key)


def _values(state: Any, n: int) -> list[Any]:
    return [state.get(f"history {i}", MISSING) for i in range(n)]


def _at_the_end(outcome: Outcome, i: int) -> Event:
    """What was found is one more event, after all others."""
    end = max(call.ended for call in outcome.answers)
    return Event("the end", "get", None, outcome.found[i], end, math.nextafter(end, math.inf))


@pytest.mark.parametrize("kind", ["threads", "forked"])
def test_linearizable_control(kind: str, tmp_path: Path) -> None:
    """Histories of get-then-set are not all linearizable."""
    work = partial(mixed, choose=inc_or_set)
    runs = (
        crowd.run(kind, each, work, WORKERS, partial(_values, n=HISTORIES))
        for each in controls(kind, tmp_path)
    )
    assert not all(
        linearizable(history, one_key) for run in runs for history in histories(run.answers)
    )
