"""Who waits for a lock, or loses a value's swaps to others, gets it in the order of coming."""

# ruff: noqa: F811  # the fixtures that are imported are arguments of the tests

from __future__ import annotations

import time
from collections.abc import Generator
from functools import partial
from typing import Any

import crowd
import pytest
from backends import BACKENDS, ONE_OF_EACH_KIND, Backend
from waiters import Time, elsewhere, patient, record, waiting  # noqa: F401  # fixtures

from sharedstate import Lock, LockLost, LockTimeout, State
from sharedstate.codec import TEXTS
from sharedstate.locks import fairness


def queue(state: State, lock: Lock, *waiters: str) -> None:
    """Let others wait for a lock that is held."""
    state.namespace("lock", TEXTS).set("job", " ".join([str(lock.token), *waiters]), 30)


def late_and_newcomer(state: State, waiting: Time, elsewhere: Any) -> tuple[Lock, list[bool]]:
    """A lock comes free when one has waited for 50 ms; at that moment a newcomer tries it."""
    holder = elsewhere(state.lock("job").acquire)
    began, tries = waiting.now, []

    def asleep() -> None:
        if waiting.now - began > 0.05 and not tries:
            holder.release()
            tries.append(elsewhere(state.lock("job").try_acquire))

    waiting.asleep = asleep
    late = state.lock("job", wait=5)
    try:
        late.acquire()
    except LockTimeout:
        pass
    return late, tries


@ONE_OF_EACH_KIND
class TestLock:
    def test_late(self, state: State, waiting: Time, elsewhere: Any) -> None:
        """Who has waited for long gets the lock, and no newcomer who comes when it is free."""
        late, tries = late_and_newcomer(state, waiting, elsewhere)
        assert tries == [False]
        assert record(state) == [late.token]
        late.release()
        assert record(state) == []

    def test_late_without_a_queue(
        self, state: State, waiting: Time, elsewhere: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Without the queue the newcomer has it, and the other one waits in vain."""
        monkeypatch.setattr(fairness, "LATE_SECONDS", float("inf"))
        late, tries = late_and_newcomer(state, waiting, elsewhere)
        assert tries == [True]
        assert late.token is None

    def test_order(self, state: State, waiting: Time, elsewhere: Any) -> None:
        """The queue is in the order in which they came, also behind one who did not wait long."""
        holder = elsewhere(state.lock("job").acquire)
        state.namespace("lock", TEXTS).set("job", f"{holder.token} first", 30)
        seen = []
        waiting.asleep = lambda: seen.append(record(state))
        with pytest.raises(LockTimeout):
            state.lock("job", wait=1).acquire()
        assert all(words[:2] == [holder.token, "first"] for words in seen)
        assert len(seen[0]) == 3
        assert record(state) == [holder.token, "first"]
        holder.release()
        assert record(state)[-1] == "first"
        assert not state.lock("job").try_acquire()

    def test_dead_waiter(self, state: State, clock: Any) -> None:
        """A lock that is handed to one who died comes free soon, however long its leases are."""
        holder = state.lock("job", lease=1000)
        holder.token = "token"
        state.namespace("lock", TEXTS).set("job", "token dead", 1000)
        holder.release()
        assert not state.lock("job").try_acquire()
        assert 0 < (state.lock("job").remaining() or 0) <= fairness.HAND_OVER_SECONDS
        clock.advance(2 * fairness.HAND_OVER_SECONDS)
        assert state.lock("job").try_acquire()

    def test_dead_holder(self, state: State, waiting: Time, elsewhere: Any, clock: Any) -> None:
        """Those in the queue of one who died get the lock when its lease is over."""
        elsewhere(state.lock("job", lease=100).acquire)
        waiting.asleep = lambda: len(record(state)) > 1 and clock.advance(110)
        with state.lock("job", wait=50) as lock:
            assert record(state) == [lock.token]

    def test_given_up(self, state: State, waiting: Time, elsewhere: Any) -> None:
        """Who gives up leaves the queue, and the lock free for all if it was handed to it."""
        holder = elsewhere(state.lock("job").acquire)
        error = KeyboardInterrupt("given up")

        def asleep() -> None:
            if len(record(state)) > 1:
                holder.release()
                raise error

        waiting.asleep = asleep
        with pytest.raises(KeyboardInterrupt):
            state.lock("job").acquire()
        assert record(state) == []

    def test_held_while_others_queue(self, state: State, clock: Any) -> None:
        """A holder renews and loses its lock the same whether others wait for it or not."""
        lock = state.lock("job", lease=100).acquire()
        state.namespace("lock", TEXTS).set("job", f"{lock.token} other", 100)
        clock.advance(80)
        lock.renew()
        assert record(state) == [lock.token, "other"]
        clock.advance(80)
        assert record(state) == [lock.token, "other"]
        clock.advance(30)
        with pytest.raises(LockLost):
            lock.renew()

    def test_wrong_token(self, state: State) -> None:
        """No token but the holder's releases a lock that others wait for."""
        for text in ("token.1 other", "~ other", "~x other"):
            state.namespace("lock", TEXTS).set("job", text, 100)
            for token in ("", "~", "~x", "other", "~ other", "token other"):
                lock = state.lock("job")
                lock.token = token
                with pytest.raises(LockLost):
                    lock.release()
                assert record(state) == text.split()

    def test_time_slice(self, state: State, waiting: Time) -> None:
        """Who has the lock may take it again for a while, before it is the others' for good."""
        lock = state.lock("job").acquire()
        queue(state, lock, "other")
        lock.release()
        for _ in range(2):
            waiting.now += 0.4 * fairness.SLICE_SECONDS
            assert lock.try_acquire()
            assert record(state) == [lock.token, "other"]
            lock.release()
        waiting.now += 0.4 * fairness.SLICE_SECONDS
        assert not lock.try_acquire()
        assert record(state)[1:] == ["other"]

    def test_time_slice_is_over(self, state: State, waiting: Time) -> None:
        """Who has taken the lock again and again before others came has had its time slice."""
        lock = state.lock("job").acquire()
        for _ in range(3):
            lock.release()
            waiting.now += 2 * fairness.SLICE_SECONDS
            lock.acquire()
        queue(state, lock, "other")
        lock.release()
        assert record(state) == ["~", "other"]
        assert not lock.try_acquire()

    def test_time_slice_of_another(self, state: State, waiting: Time) -> None:
        """The next one waits as long as the one before it takes the lock again and again."""
        locks = state.namespace("lock", TEXTS)
        locks.set("job", "holder", 30)
        looks: list[str] = []

        def asleep() -> None:
            words = record(state)
            if len(words) > 1:
                looks.append(words[0])
                if len(looks) < 4:
                    locks.set("job", f"~{len(looks)} {words[1]}", 30)

        waiting.asleep = asleep
        lock = state.lock("job").acquire()
        assert looks == ["holder", "~1", "~2", "~3"]
        assert record(state) == [lock.token]

    def test_full_queue(self, state: State, waiting: Time) -> None:
        """Where the queue is full, or no place for it, one waits without a place in it."""
        words = ["holder", *("w" * 64)]
        state.namespace("lock", TEXTS).set("job", " ".join(words), 30)
        seen = []
        waiting.asleep = lambda: seen.append(record(state) == words)
        with pytest.raises(LockTimeout):
            state.lock("job", wait=1).acquire()
        assert seen and all(seen)
        state.namespace("lock", TEXTS).set("job", "holder", 30)
        state.max_value_bytes = 40
        with pytest.raises(LockTimeout):
            state.lock("job", wait=1).acquire()
        assert record(state) == ["holder"]

    def test_not_next_any_more(self, state: State) -> None:
        """Who was the next one when it looked, and is not, does not get ahead of who is."""
        locks = state.namespace("lock", TEXTS)
        locks.set("job", "~ me", 100)
        seen = fairness.Record(locks.keyspace, "job")
        assert seen.read() == ["~", "me"]
        locks.set("job", "~ other me", 100)
        assert not seen.enter("me", 100)
        assert record(state) == ["~", "other", "me"]

    def test_costs_nothing(self, state: State, monkeypatch: pytest.MonkeyPatch) -> None:
        """A lock that nobody waits for is four operations, and no reading."""
        done = []
        transact = state.store.transact

        def counted(keys: Any, operation: Any) -> Any:
            done.append(type(operation).__name__)
            return transact(keys, operation)

        monkeypatch.setattr(state.store, "transact", counted)
        monkeypatch.setattr(state.store, "values", None)
        monkeypatch.setattr(state.store, "read", None)
        for _ in range(2):
            with state.lock("job"):
                pass
        assert done == ["Add", "Increment", "Swap", "Swap"] * 2


STORES = ("filesystem", "redis")
WORKERS = 6
HOLDS = 20
SHARED = [pytest.param(each, id=each.id) for each in BACKENDS if each.id in STORES]


def take_and_take(state: Any, me: int) -> Generator[Any, Any, None]:
    yield partial(state.get, "opens it")
    yield crowd.GATE
    for _ in range(HOLDS):
        yield partial(hold, state)


def hold(state: Any) -> str:
    with state.lock("job", wait=60):
        time.sleep(0.005)
    return "held"


def open_state(settings: dict[str, str]) -> State:
    return State.from_settings(settings)


@pytest.mark.slow
@pytest.mark.parametrize("backend", SHARED)
def test_nobody_starves(backend: Backend, race_settings: dict[str, str]) -> None:
    """Processes that take a lock over and over all get it: nobody while another is done first."""
    calls = crowd.run(
        "forked", partial(open_state, race_settings), take_and_take, WORKERS, no_look
    ).answers
    held = [call for call in calls if call.result == "held"]
    assert len(held) == WORKERS * HOLDS
    first = min(max(each.ended for each in held if each.worker == me) for me in range(WORKERS))
    assert {each.worker for each in held if each.ended <= first} == set(range(WORKERS))


def no_look(state: Any) -> None: ...
