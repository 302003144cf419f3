"""What decides under uncertainty, in the order of a seed; and that what is wrong is found so."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Hashable, Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest

from sharedstate import State, StoreUnavailable
from sharedstate.jobs.once import Once
from sharedstate.locks import held, renewal
from sharedstate.locks.fairness import Record
from sharedstate.locks.held import Held
from sharedstate.locks.lock import Lock
from sharedstate.stores import operations
from sharedstate.stores.base import Store
from sharedstate.stores.combining import Combining, together
from sharedstate.stores.etcd import writer
from sharedstate.stores.etcd.messages import Message, unchanged
from sharedstate.stores.guards.breaker import Breaker, Circuit
from torture.simulation import interruptions
from torture.simulation.command import hunt
from torture.simulation.network import Network
from torture.simulation.simulation import Subject, simulate
from torture.simulation.subjects.breakers import Breakers
from torture.simulation.subjects.combiners import Combiners
from torture.simulation.subjects.computing import Computing
from torture.simulation.subjects.histories import CALLS, Histories
from torture.simulation.subjects.leaders import Leaders
from torture.simulation.subjects.locks import Locks
from torture.simulation.subjects.on_etcd import HistoriesOnEtcd
from torture.simulation.subjects.periods import Periods
from torture.simulation.subjects.semaphores import Semaphores
from torture.simulation.subjects.table import SUBJECTS
from torture.simulation.subjects.tokens import Tokens

ROOT = Path(__file__).parents[2]
# Of the mistakes below all but one are found by the sixth seed.
SEEDS = 20
SEEDS_TO_FIND = 1000


@pytest.mark.parametrize("name", SUBJECTS)
@pytest.mark.slow
def test_what_is_promised_holds(name: str) -> None:
    """Whatever is lost, late, stopped or killed."""
    assert hunt(name, SUBJECTS[name], range(SEEDS))


# What is wrong, in the place of what is right.


class _Unfenced(Lock):
    fence = property(lambda _: 1, lambda *_: None)  # type: ignore[assignment]


class Unfenced(Locks):
    """All holders have the same fence."""

    kinds = ("stopped", "stalled", "response slow")

    def make(self, state: State, wait: float) -> Held:
        made = super().make(state, wait)
        made.__class__ = _Unfenced
        return made


class Crowded(Semaphores):
    """Has one place too many."""

    def make(self, state: State, wait: float) -> Held:
        self.limit = 3
        made = super().make(state, wait)
        self.limit = 2
        return made


class Overwriting(Computing):
    """Whoever has found no value sets the one that it has made."""

    def get(self, state: State, key: str, name: str) -> str:
        value: str | None = state.get(key)
        if value is None:
            value = self.make(key, name)
            state.set(key, value)
        return value


def _get_then_set(state: State, key: str, inc: Any) -> int:
    number: int = state.get(key, 0)
    state.set(key, number + inc.delta)
    return number + int(inc.delta)


class GetThenSet(Histories):
    """An increment in two steps."""

    calls = {
        **CALLS,
        "inc": lambda *arguments: CALLS["inc"](*arguments) and _get_then_set(*arguments),
    }


class _Retrying(Network):
    def transact(self, keys: Sequence[bytes], operation: Any) -> Any:
        try:
            return super().transact(keys, operation)
        except StoreUnavailable:
            return super().transact(keys, operation)


class Retrying(Histories):
    """A driver sends once more what was not confirmed."""

    driver = _Retrying


class _RetryingBreaker(Breaker):
    def _call(self, keys: Sequence[bytes], method: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return super()._call(keys, method, *arguments)
        except StoreUnavailable:
            return method(*arguments)


class RetryingBreaker(Breakers):
    """The breaker asks once more."""

    def make(self, network: Network) -> Store:
        return _RetryingBreaker(network)


class _TwoLooks(Breaker):
    def _check(self, keys: Sequence[bytes]) -> Iterable[Hashable]:
        servers = self._servers_of(keys) if self._circuits else ()
        for server in servers:
            if server in self._circuits:
                self._circuits[server].check(self.timeout)
        return servers


class TwoLooks(Breakers):
    """The breaker takes for granted between two statements that no other thread has run."""

    kinds = ("interrupted", "refused", "down", "cut")

    def make(self, network: Network) -> Store:
        return _TwoLooks(network)


class _DroppingCombiner(Combining):
    def _current(self, taken: Any) -> Any:
        return super()._current(taken)[:4]


class DroppingCombiner(Combiners):
    """The fifth of a round is forgotten."""

    def make(self, network: Network) -> Store:
        return _DroppingCombiner(network)


@pytest.mark.parametrize(
    "subject",
    [Unfenced, Crowded, Overwriting, GetThenSet, Retrying, RetryingBreaker, DroppingCombiner],
)
def test_what_is_wrong_is_found(subject: type[Subject]) -> None:
    """A known mistake breaks a promise in one of the first seeds."""
    assert found(subject)


def found(subject: type[Subject], seeds: int = SEEDS_TO_FIND, first: int = 0) -> str | None:
    """What the first seed that finds something says."""
    for seed in range(first, first + seeds):
        if (failure := simulate(subject, seed).failure) is not None:
            return failure
    return None


def _unconfirmed(record: Record, holder: str, new: str, lease: float) -> bool:
    is_held = Record_replace(record, holder, new, lease)
    return is_held or "." not in holder


Record_replace = Record.replace


def _any_writer(key: bytes, revision: int) -> Message:
    return {**unchanged(key, 1 << 40), "result": "LESS"}


@pytest.mark.parametrize(
    ("subject", "target", "name", "wrong"),
    [
        pytest.param(Tokens, operations, "ONCE_SECONDS", 0.5, id="once-forgets"),
        pytest.param(Locks, Record, "replace", _unconfirmed, id="lock-not-confirmed"),
        pytest.param(Locks, held, "SAFE", 1.5, id="lock-past-its-lease"),
        pytest.param(Leaders, renewal, "SAFE", 1.5, id="leader-past-its-lease"),
        pytest.param(Periods, Once, "_is_done", lambda *_: False, id="period-not-looked-at"),
        pytest.param(Breakers, Circuit, "check", lambda *_: None, id="breaker-never-opens"),
        pytest.param(Breakers, Breaker, "_close", lambda *_: None, id="breaker-never-closes"),
        pytest.param(HistoriesOnEtcd, writer, "unchanged", _any_writer, id="etcd-applies-twice"),
        pytest.param(Combiners, Combining, "_appoint", lambda _: None, id="combiner-waits"),
        pytest.param(
            Combiners, together, "_may_be_applied", lambda *_: False, id="combiner-repeats"
        ),
    ],
)
@pytest.mark.slow
def test_what_is_broken_is_found(
    monkeypatch: pytest.MonkeyPatch, subject: type[Subject], target: Any, name: str, wrong: Any
) -> None:
    """A known mistake in our own code breaks a promise in one of the first seeds."""
    monkeypatch.setattr(target, name, wrong)
    # The lock that is not confirmed takes a seed that is known; all before it would take seconds.
    assert found(subject, first=150 if wrong is _unconfirmed else 0)


def test_threads_are_interrupted_anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """A mistake that takes a switch between two statements is found where code is interrupted."""
    assert found(TwoLooks, SEEDS) is None
    monkeypatch.setattr(interruptions, "MODULES", (*interruptions.MODULES, __name__))
    interruptions.plan.cache_clear()
    try:
        assert found(TwoLooks) == "KeyError('')"
    finally:
        interruptions.plan.cache_clear()


def test_a_failure_says_how_to_repeat_it(capsys: pytest.CaptureFixture[str]) -> None:
    """It names its seed, and what it takes of all that went wrong in it."""
    assert not hunt("operations", Retrying, range(SEEDS_TO_FIND))
    text = capsys.readouterr().out
    seed = re.search(r"--subject operations --seed (\d+)", text)
    needs = re.search(r"needs (\d+) of its (\d+) disturbances", text)
    assert seed and simulate(Retrying, int(seed[1])).failure
    assert needs and 2 * int(needs[1]) < int(needs[2])
    assert "VIOLATION: the history of" in text


@pytest.mark.slow
def test_a_seed_is_the_same_run_everywhere() -> None:
    """In another process, whatever the order of its sets, the same happens at the same times."""

    def traced(hash_seed: str) -> list[str]:
        command = [sys.executable, "-m", "torture.simulation", "--seed", "7", "--trace"]
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return [line for line in done.stdout.splitlines() if " seeds " not in line]

    first = traced("1")
    assert len(first) > 100
    assert first == traced("2")
