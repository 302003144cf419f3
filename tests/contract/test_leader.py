"""Leaders: one at a time, until it stops, dies or cannot renew its lease."""

from __future__ import annotations

import logging
import multiprocessing
import os
import threading
from collections.abc import Iterator
from functools import partial
from typing import Any

import crowd
import pytest
from backends import BACKENDS, CROWDS, GREENLETS, IN_THE_STATE, ON_ALL, ONE_OF_EACH_KIND, Clock
from flask import Flask
from get_then_set import chances

from sharedstate import Cache, InvalidKey, Leader, State, StoreUnavailable
from sharedstate.codec import TEXTS
from sharedstate.jobs import leader as leader_module
from sharedstate.locks import lock as lock_module
from sharedstate.locks import renewal

SECONDS = 60  # Guards against a hang, and nothing else.

pytestmark = ONE_OF_EACH_KIND


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Candidates look often, and none is left."""
    monkeypatch.setattr(leader_module, "_EVERY", 1 / 1000)
    monkeypatch.setattr(renewal, "_EVERY", 1 / 1000)
    yield
    for thread in threading.enumerate():
        if thread.name.startswith("sharedstate-"):
            thread.join(SECONDS)
            assert not thread.is_alive()


class Candidate:
    """A leader whose beginning and end can be waited for."""

    def __init__(self, state: State, lease: float = 15) -> None:
        self.started, self.ended = threading.Semaphore(0), threading.Semaphore(0)
        self.leader = Leader(
            lambda: state, "job", lease, on_start=self.started.release, on_stop=self.ended.release
        )

    def starts(self) -> bool:
        return self.started.acquire(timeout=SECONDS)

    def ends(self) -> bool:
        return self.ended.acquire(timeout=SECONDS)


def test_the_next(state: State) -> None:
    """The next one leads when the first has stopped, and with a higher fence."""
    first, second = Candidate(state), Candidate(state)
    with first.leader:
        assert first.starts() and first.leader.is_leader
        second.leader.start()
        assert not second.leader.is_leader
    assert not first.leader.is_leader
    assert first.ended.acquire(blocking=False), "it is told before stop() returns"
    assert second.starts()
    assert second.leader.is_leader
    assert second.leader.fence > first.leader.fence
    second.leader.stop()


def test_again(state: State) -> None:
    """A candidate can be started again, and starting or stopping twice does nothing."""
    it = Candidate(state)
    for _ in range(2):
        it.leader.start()
        it.leader.start()
        assert it.starts()
        it.leader.stop()
        it.leader.stop()
        assert it.ends()
    assert not it.started.acquire(blocking=False)


def test_another_has_it(state: State) -> None:
    """A leader whose lease is another's is told so, and leads again when that has ended."""
    it, locks = Candidate(state), state.namespace("leader/lock", TEXTS)
    with it.leader:
        assert it.starts()
        locks.set("job", "another", 300)
        assert it.ends() and not it.leader.is_leader
        locks.delete("job")
        assert it.starts()


@pytest.mark.slow
def test_store_hangs(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    """A leader gives up in time though the store does not respond."""
    it = Candidate(state, lease=0.5)
    responds, transact = threading.Event(), state.store.transact

    def hang(keys: Any, operation: Any) -> Any:
        responds.wait(SECONDS)
        return transact(keys, operation)

    with it.leader:
        assert it.starts()
        monkeypatch.setattr(state.store, "transact", hang)
        assert it.ends()
        assert not it.leader.is_leader and not responds.is_set()
        responds.set()


def test_store_down(
    state: State, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A candidate that cannot reach the store says so, and tries again."""
    it, transact, failures = Candidate(state), state.store.transact, []

    def fail_twice(keys: Any, operation: Any) -> Any:
        if len(failures) < 2:
            failures.append(True)
            raise StoreUnavailable("for a moment")
        return transact(keys, operation)

    monkeypatch.setattr(state.store, "transact", fail_twice)
    with it.leader:
        assert it.starts()
    assert caplog.text.count("for a moment") == 2


@IN_THE_STATE
def test_by_its_own_clock(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    """A leader that was stopped for long does not believe to be one, without asking the store."""
    monkeypatch.setattr(renewal, "_EVERY", 1 / 3)
    it = Candidate(state, lease=100)
    with it.leader:
        assert it.starts()
        now = lock_module.time.monotonic()
        with monkeypatch.context() as patch:
            patch.setattr(lock_module.time, "monotonic", lambda: now + 95)
            assert not it.leader.is_leader
        assert it.leader.is_leader


@IN_THE_STATE
def test_callbacks_that_raise(state: State, caplog: pytest.LogCaptureFixture) -> None:
    """What a callback raises is logged; one that could not begin lets others lead."""
    caplog.set_level(logging.ERROR)

    def fail() -> None:
        raise ZeroDivisionError

    failing = Leader(lambda: state, "job", on_start=fail)
    other = Candidate(state)
    with failing, other.leader:
        assert other.starts()
        assert not failing.is_leader
    with Leader(lambda: state, "job", on_start=other.started.release, on_stop=fail):
        assert other.starts()
    assert "ZeroDivisionError" in caplog.text


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_fork(state: State) -> None:
    """A child of the leader is none, and may be a candidate of its own."""
    it = Candidate(state)
    with it.leader:
        assert it.starts()

        def child() -> tuple[bool, bool, bool]:
            it.leader.stop()  # Not its own.
            before = it.leader.is_leader
            it.leader.start()
            is_another = it.leader._thread.is_alive()
            return before, it.leader.is_leader, is_another

        if "process" != state.store.scope:
            assert crowd.in_child(child) == (False, False, True)
        assert it.leader.is_leader


@pytest.mark.on("filesystem", "redis")
@pytest.mark.slow
def test_killed(state: State, clock: Clock) -> None:
    """When the process of the leader is killed, another one leads once the lease has ended."""
    context = multiprocessing.get_context("fork")
    says, tells = context.Pipe(duplex=False)

    def child() -> None:
        Leader(lambda: state, "job", 100, on_start=lambda: tells.send("leads")).start()
        threading.Event().wait(SECONDS)

    process = context.Process(target=child, daemon=True)
    process.start()
    try:
        assert says.poll(SECONDS)
        it = Candidate(state)
        with it.leader:
            assert state.namespace("leader").lock("job").try_acquire() is False
            assert not it.started.acquire(blocking=False)
            process.kill()
            process.join()
            clock.advance(110)
            assert it.starts()
    finally:
        process.kill()
        process.join()
        says.close()
        tells.close()


@IN_THE_STATE
def test_wrong(state: State) -> None:
    """A name is a key, and a lease as for locks."""
    with pytest.raises(InvalidKey):
        Leader(lambda: state, "")
    with pytest.raises(ValueError, match="lease"):
        Leader(lambda: state, "job", 0)


@pytest.mark.on("simple")
def test_of_the_application(state: State) -> None:
    """It is made before there is an application, and belongs to the one that it is started in."""
    cache = Cache()
    started = threading.Event()
    leader = cache.leader("job", on_start=started.set)
    apps = [Flask("a"), Flask("b")]
    for app in apps:
        cache.init_app(app, config={"CACHE_TYPE": "simple"})
    with pytest.raises(RuntimeError, match="app_context"):
        leader.start()
    with apps[1].app_context():
        leader.start()
    assert started.wait(SECONDS)
    leader.stop()
    with apps[1].app_context():
        assert cache.state.namespace("leader/lock/fence").has("all locks")


# The race: eight candidates; each leads, says how many it saw leading, and stops.


def lead(state: State, me: int) -> Any:
    leader_module._EVERY = 1 / 1000  # In the process of greenlets too.
    yield partial(_lead, state)


def _lead(state: State) -> int:
    started = threading.Event()
    with Leader(lambda: state, "job", on_start=started.set) as leader:
        assert started.wait(SECONDS) and leader.is_leader
        return _inside(state)


def lead_unguarded(state: State, me: int) -> Any:
    """The negative control: who finds no leader says that it is the leader."""
    for _ in range(50):
        yield partial(_lead_unguarded, state)


def _lead_unguarded(state: State) -> int:
    while state.get("leader") is not None:
        pass
    state.set("leader", True)
    try:
        return _inside(state)
    finally:
        state.delete("leader")


def _inside(state: State) -> int:
    seen = state.inc("inside")
    for _ in range(10):
        state.inc("work")
    state.dec("inside")
    return seen


@ON_ALL
@pytest.mark.slow
@pytest.mark.parametrize("backend, kind", CROWDS + GREENLETS)
def test_race(backend: Any, kind: str, race_settings: dict[str, str]) -> None:
    """There are never two leaders, on every store, and all eight lead."""
    open_state = partial(State.from_settings, race_settings)
    outcome = crowd.run(kind, open_state, lead, 8, partial(State.get, key="inside"))
    assert [call.result for call in outcome.answers] == [1] * 8
    assert outcome.found == 0


@pytest.mark.slow
@pytest.mark.parametrize("backend", [b for b in BACKENDS if b.id == "filesystem"], ids=["files"])
def test_race_control(backend: Any, cache_settings: dict[str, str]) -> None:
    """Looking for a leader before saying so makes two."""
    look = partial(State.get, key="inside")
    outcomes = (
        crowd.run("forked", each, lead_unguarded, 4, look) for each in chances(cache_settings)
    )
    assert any(max(call.result for call in outcome.answers) > 1 for outcome in outcomes)
