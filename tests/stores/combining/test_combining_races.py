"""What is done together has the results that it has one after the other."""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import crowd
import pytest
from backends import innermost
from combined import (
    SECONDS,
    Call,
    outcome,
)
from crowd import GATE
from hypothesis import given, settings
from hypothesis import strategies as st

from race.judging.checkers import exactly_one_to
from sharedstate import (
    SharedStateError,
    State,
)
from sharedstate.stores.base import Store
from sharedstate.stores.combining import Combining, together
from sharedstate.stores.combining.together import do_together
from sharedstate.stores.combining.waiting import Waiting
from sharedstate.stores.memory import MemoryStore
from sharedstate.stores.operations import (
    Add,
    Batch,
    Exchange,
    Get,
    Increment,
    Once,
    Operation,
    Put,
    Remove,
    Swap,
    Touch,
)
from torture.judging.key_model import MISSING, Inc, Raised, one_key
from torture.judging.linearizability import Event, linearizable

# Against the same operations one after the other.

KEYS = [b"a", b"b", b"c"]
keys = st.sampled_from(KEYS)
values = st.sampled_from([b"1", b"-5", b"text", b"", b"9223372036854775807"])
timeouts = st.sampled_from([0.0, 5.0, 60.0])
increments = st.builds(
    Increment, st.integers(-3, 3), st.integers(-2, 2), timeouts, st.just(-4), st.just(4)
)
singles: st.SearchStrategy[Operation] = st.one_of(
    st.builds(Get),
    st.builds(Put, values, timeouts),
    st.builds(Exchange, values, timeouts),
    st.builds(Add, values, timeouts),
    st.builds(Remove),
    st.builds(Touch, timeouts),
    st.builds(Swap, st.none() | values, st.none() | values, st.just(-1.0), timeouts),
    increments,
)
calls = st.lists(
    st.one_of(
        st.tuples(keys.map(lambda key: (key,)), singles),
        st.tuples(
            keys.map(lambda key: (b"token", key)), st.builds(Once, increments, st.just(b"f"))
        ),
        st.tuples(
            st.permutations(KEYS).map(tuple),
            st.builds(Batch, st.lists(st.tuples(st.integers(0, 2), singles), max_size=4)),
        ),
    ),
    max_size=12,
)


@contextmanager
def opened(name: str, directory: Path, durability: str = "full") -> Iterator[State]:
    state = State.from_settings(
        {
            "CACHE_TYPE": name,
            "CACHE_DIR": str(directory / name),
            "CACHE_DURABILITY": durability,
            "CACHE_TIMEOUT": str(SECONDS),
        }
    )
    yield state
    state.close()


@pytest.mark.parametrize("name", ["simple", "filesystem", "lmdb"])
@pytest.mark.slow
def test_as_one_after_the_other(name: str, tmp_path: Path) -> None:
    """Whatever is done together has the results, and leaves the records, that it has in turn."""
    with opened(name, tmp_path, "normal") as state:
        store: Store = innermost(state.store)
        store.clock = lambda: 1_800_000_000.0
        examples = iter(range(10**9))

        @settings(max_examples=40, deadline=None, derandomize=os.environ.get("CI") == "true")
        @given(calls, calls)
        def compare(before: list[Call], some: list[Call]) -> None:
            number = next(examples)
            expected = MemoryStore(clock=store.clock)
            place = b"%d:" % number

            def there(keys: Sequence[bytes]) -> list[bytes]:
                return [place + key for key in keys]

            for call in before:
                assert _same(
                    outcome(expected, (there(call[0]), call[1])),
                    outcome(store, (there(call[0]), call[1])),
                )
            waiting = [Waiting(there(keys), operation, None) for keys, operation in some]
            # Reads are done after the writes of the round.
            in_turn = sorted(some, key=lambda call: not call[1].writes)
            ended = sorted(waiting, key=lambda one: not one.operation.writes)
            do_together(store, waiting)
            for call, one in zip(in_turn, ended, strict=True):
                assert one.has_ended
                assert _same(
                    outcome(expected, (there(call[0]), call[1])),
                    one.result if one.error is None else one.error,
                )
            everything = there([*KEYS, b"token"])
            assert store.read(everything) == expected.read(everything)

        compare()


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, Exception) or isinstance(other, Exception):
        return type(one) is type(other) and one.step == other.step
    return bool(one == other)


# Races.


def counting(state: Any, me: int, times: int) -> Any:
    for _ in range(times):
        yield partial(state.inc, "n")


HISTORIES = 15


def mixed(state: Any, me: int) -> Any:
    for history in range(HISTORIES):
        yield GATE
        dice = random.Random(f"{history}.{me}")
        for _ in range(6):
            yield partial(_do, state, f"history {history}", dice.randrange(5), dice.randrange(1, 9))


def _do(state: Any, key: str, operation: int, number: int) -> tuple[Any, ...]:
    try:
        if operation == 0:
            return key, "set", number, state.set(key, number)
        if operation == 1:
            return key, "delete", None, state.delete(key)
        if operation == 2:
            return key, "get", None, state.get(key, MISSING)
        if operation == 3:
            return key, "add", "text", state.add(key, "text")
        return key, "inc", Inc(delta=number), state.inc(key, number)
    except SharedStateError as error:
        return key, "inc", Inc(delta=number), Raised(type(error).__name__)


def is_linearizable(state: State) -> bool:
    """Whether threads that do anything to one key see what one after the other would see."""
    outcome = crowd.run("threads", lambda: state, mixed, 6, lambda state: None)
    histories: dict[str, list[Event]] = {}
    for worker, (key, *event), started, ended in outcome.answers:
        histories.setdefault(key, []).append(Event(worker, *event, started, ended))
    assert len(histories) == HISTORIES
    return all(linearizable(history, one_key) for history in histories.values())


class Busy(MemoryStore):
    """A store at which others queue: each step gives them the time to come."""

    def transact(self, keys: Sequence[bytes], operation: Operation) -> Any:
        threading.Event().wait(0.0002)
        return super().transact(keys, operation)


full = pytest.mark.parametrize("name", ["filesystem", "lmdb"])


@pytest.mark.slow
@full
def test_exact(name: str, tmp_path: Path) -> None:
    """Threads that share one store at full durability get each number once."""
    with opened(name, tmp_path) as state:
        assert isinstance(state.store, Combining)
        found = crowd.run("threads", lambda: state, partial(counting, times=150), 8, lambda s: 0)
        assert exactly_one_to([call.result for call in found.answers], 8 * 150)
        assert state.get("n") == 8 * 150
        assert state.store._rounds > 0


@pytest.mark.slow
@full
def test_linearizable(name: str, tmp_path: Path) -> None:
    """Mixed operations on one key happen one at a time, in an order that agrees with real time."""
    with opened(name, tmp_path) as state:
        assert is_linearizable(state)


@pytest.mark.slow
def test_linearizable_in_memory() -> None:
    """So they do where nearly all operations are done together."""
    state = State(Combining(Busy(timeout=SECONDS)))
    assert is_linearizable(state)
    assert state.store._rounds > HISTORIES  # type: ignore[attr-defined]


@pytest.mark.slow
def test_control(monkeypatch: pytest.MonkeyPatch) -> None:
    """Results that reach the wrong callers are noticed."""
    write = together._write
    monkeypatch.setattr(together, "_write", lambda store, some: write(store, some)[::-1])
    assert not is_linearizable(State(Combining(Busy(timeout=SECONDS))))
