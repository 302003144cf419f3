"""Semaphores: never more holders than the limit, leases, and who gets a place next."""

from __future__ import annotations

import threading
import time
from functools import partial
from typing import Any

import crowd
import pytest
from backends import BACKENDS, CROWDS, GREENLETS, IN_THE_STATE, ONE_OF_EACH_KIND, Clock
from get_then_set import chances

from sharedstate import InvalidKey, LockLost, LockTimeout, Semaphore, State
from sharedstate.codec import TEXTS
from sharedstate.jobs import Jobs
from sharedstate.locks import renewal

SECONDS = 60  # Guards against a hang, and nothing else.


class TestHolding:
    def test_so_many(self, state: State) -> None:
        """As many as the limit hold it; the next one does when one of them has released it."""
        first, second, third = (Semaphore(state, "s", 2) for _ in range(3))
        assert [it.try_acquire() for it in (first, second, third)] == [True, True, False]
        assert first.holders() == 2
        assert third.token is None
        first.release()
        assert third.try_acquire() is True
        second.release()
        third.release()
        assert first.holders() == 0

    def test_timeout(self, state: State) -> None:
        """Who waits in vain gets LockTimeout, and leaves no queue behind."""
        with Semaphore(state, "s", 1) as holder:
            for wait in (0, 0.02):
                with pytest.raises(LockTimeout, match="'s'"):
                    Semaphore(state, "s", 1, wait=wait).acquire()
            assert holder.is_held
        assert Semaphore(state, "s", 1, wait=0).acquire().is_held

    def test_apart(self, state: State) -> None:
        """Semaphores of different names, locks and values have nothing to do with each other."""
        with Semaphore(state, "s", 1), Semaphore(state, "t", 1), state.lock("s"):
            state.set("s", 1)
            assert state.get("s") == 1

    def test_twice(self, state: State) -> None:
        """One object holds one place; another one of the same thread may hold another."""
        semaphore = Semaphore(state, "s", 2)
        with semaphore, Semaphore(state, "s", 2):
            with pytest.raises(RuntimeError, match="already"):
                semaphore.acquire()

    @IN_THE_STATE
    def test_wrong(self, state: State) -> None:
        """A limit is 1 to 256, and the rest as for locks."""
        for limit in (0, -1, 257, 1.5, True, "2"):
            with pytest.raises(ValueError, match="limit"):
                Semaphore(state, "s", limit)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="lease"):
            Semaphore(state, "s", 1, lease=0)
        with pytest.raises(InvalidKey):
            Semaphore(state, "x" * 250, 1)

    def test_of_a_cache(self, state: State) -> None:
        """A cache has semaphores on its state."""

        class Maker(Jobs):
            pass

        maker = Maker()
        maker.state = state  # type: ignore[misc]
        with maker.semaphore("s", 1):
            assert Semaphore(state, "s", 1).holders() == 1


@ONE_OF_EACH_KIND
class TestLease:
    def test_ends(self, state: State, clock: Clock) -> None:
        """A place comes free when its lease ends, and its holder cannot release another's."""
        late = Semaphore(state, "s", 1, lease=100).acquire()
        clock.advance(90)
        assert Semaphore(state, "s", 1).try_acquire() is False
        clock.advance(20)
        with Semaphore(state, "s", 1):
            with pytest.raises(LockLost):
                late.release()
            assert late.lost.is_set()

    def test_renew(self, state: State, clock: Clock) -> None:
        """A place is held for another lease from its renewal on."""
        semaphore = Semaphore(state, "s", 1, lease=100).acquire()
        clock.advance(80)
        semaphore.renew()
        clock.advance(80)
        assert Semaphore(state, "s", 1).try_acquire() is False
        clock.advance(30)
        with pytest.raises(LockLost):
            semaphore.renew()

    def test_lost(self, state: State, monkeypatch: pytest.MonkeyPatch) -> None:
        """A place that renews itself tells its holder that it is lost."""
        monkeypatch.setattr(renewal, "_EVERY", 0.01)
        semaphore = Semaphore(state, "s", 1, renew=True).acquire()
        state.namespace("semaphore", TEXTS).delete("0 s")
        assert semaphore.lost.wait(SECONDS)
        semaphore.discard()


@ONE_OF_EACH_KIND
class TestWaiting:
    def test_a_newcomer_does_not_overtake(self, state: State) -> None:
        """Nobody takes a place while others wait for one."""
        state.namespace("semaphore", TEXTS).set("- s", "a waiter", 30)
        assert Semaphore(state, "s", 1).try_acquire() is False
        state.namespace("semaphore", TEXTS).delete("- s")
        assert Semaphore(state, "s", 1).try_acquire() is True

    def test_in_order(self, state: State) -> None:
        """Waiters get places in the order in which they came."""
        holder = Semaphore(state, "s", 1).acquire()
        queue, order = state.namespace("semaphore", TEXTS), []

        def wait(me: int) -> None:
            with Semaphore(state, "s", 1, wait=SECONDS):
                order.append(me)

        waiters = [threading.Thread(target=wait, args=(me,)) for me in range(3)]
        for n, waiter in enumerate(waiters):
            waiter.start()
            deadline = time.monotonic() + SECONDS
            while len(str(queue.get("- s", "")).split()) <= n:
                assert time.monotonic() < deadline
                time.sleep(0.005)
        holder.release()
        for waiter in waiters:
            waiter.join(SECONDS)
        assert order == [0, 1, 2]

    def test_a_waiter_that_died(self, state: State, clock: Clock) -> None:
        """The queue goes on when its first one has died."""
        state.namespace("semaphore", TEXTS).set("- s", "dead", 2)
        clock.advance(3)
        with Semaphore(state, "s", 1, wait=0):
            pass


# The race: eight workers, of whom three at a time may be inside. Each says how many it saw there.

LIMIT = 3


def guarded(state: State, me: int, times: int) -> Any:
    for _ in range(times):
        yield partial(_hold, state)


def _hold(state: State) -> int:
    with Semaphore(state, "s", LIMIT, wait=60):
        return _inside(state)


def counted(state: State, me: int, times: int) -> Any:
    """The negative control: who looks whether there is room, and then counts itself."""
    for _ in range(times):
        yield partial(_count, state)


def _count(state: State) -> int:
    while state.get("holders", 0) >= LIMIT:
        time.sleep(0.001)
    state.inc("holders")
    try:
        return _inside(state)
    finally:
        state.dec("holders")


def _inside(state: State) -> int:
    seen = state.inc("inside")
    time.sleep(0.002)
    state.dec("inside")
    return seen


@pytest.mark.slow
@pytest.mark.parametrize("backend, kind", CROWDS + GREENLETS)
def test_race(backend: Any, kind: str, race_settings: dict[str, str]) -> None:
    """Never more than three are inside, on every store, and nothing is held at the end."""
    outcome = crowd.run(
        kind, partial(State.from_settings, race_settings), partial(guarded, times=8), 8, _left
    )
    seen = [call.result for call in outcome.answers]
    assert len(seen) == 64 and max(seen) <= LIMIT
    assert outcome.found == (0, 0)


def _left(state: State) -> tuple[int, int]:
    return state.get("inside"), Semaphore(state, "s", LIMIT).holders()


@pytest.mark.slow
@pytest.mark.parametrize("backend", [b for b in BACKENDS if b.id == "filesystem"], ids=["files"])
def test_race_control(backend: Any, cache_settings: dict[str, str]) -> None:
    """Looking for room before counting lets more in."""
    work = partial(counted, times=10)
    outcomes = (crowd.run("forked", each, work, 8, _left) for each in chances(cache_settings))
    assert any(max(call.result for call in outcome.answers) > LIMIT for outcome in outcomes)
