"""Who waits for a lock, or loses a value's swaps to others, gets it in the order of coming."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import crowd
import pytest
from backends import BACKENDS, ONE_OF_EACH_KIND, Backend

from sharedstate import Deadlock, Lock, LockLost, LockTimeout, State, StoreUnavailable
from sharedstate.codec import TEXTS
from sharedstate.locks import contention, fairness
from sharedstate.stores.operations import Swap


class Time:
    """The time of the waiters: it passes in their sleeps alone, and others act meanwhile."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.asleep: Callable[[], object] = lambda: None

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.asleep()


@pytest.fixture
def waiting(monkeypatch: pytest.MonkeyPatch) -> Time:
    fake = Time()
    for module in ("fairness", "contention", "lock"):
        monkeypatch.setattr(f"sharedstate.locks.{module}.time", fake)
    return fake


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is handed to somebody waits longer than a busy machine lets a test wait."""
    monkeypatch.setattr(fairness, "HAND_OVER_SECONDS", 60)
    monkeypatch.setattr(contention, "LEASE_SECONDS", 60)


@pytest.fixture
def elsewhere() -> Any:
    """Runs a function in another thread, which is always the same."""
    with ThreadPoolExecutor(1) as pool:
        yield lambda function, *arguments: pool.submit(function, *arguments).result()


def record(state: State, name: str = "job", space: str = "lock") -> list[str]:
    """Who holds a lock, and who is in its queue."""
    return state.namespace(space, TEXTS).get(name, "").split()


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


@ONE_OF_EACH_KIND
class TestDeadlock:
    def test_lock(self, state: State, waiting: Time) -> None:
        """A thread that holds a lock and waits for it by another object is told at once."""
        began = waiting.now
        with state.lock("job"):
            with pytest.raises(Deadlock, match="'job'"):
                state.lock("job").acquire()
            assert not state.lock("job").try_acquire()
        assert waiting.now == began
        with state.lock("job"):
            pass

    def test_other_thread(self, state: State, elsewhere: Any) -> None:
        """Another thread waits as ever, and so does one whose lock was lost or given away."""
        lock = state.lock("job").acquire()
        with pytest.raises(LockTimeout) as caught:
            elsewhere(state.lock("job", wait=0.05).acquire)
        assert not isinstance(caught.value, Deadlock)
        lock.release()
        other = elsewhere(state.lock("job").acquire)
        with pytest.raises(LockTimeout) as caught:
            state.lock("job", wait=0.05).acquire()
        assert not isinstance(caught.value, Deadlock)
        other.release()

    def test_lost(self, state: State, elsewhere: Any, clock: Any) -> None:
        """Who has lost a lock to others waits for it as ever."""
        lost = state.lock("job", lease=100).acquire()
        clock.advance(110)
        elsewhere(state.lock("job").acquire)
        with pytest.raises(LockTimeout) as caught:
            state.lock("job", wait=0.05).acquire()
        assert not isinstance(caught.value, Deadlock)
        assert lost.token

    def test_fork(self, state: State, monkeypatch: pytest.MonkeyPatch) -> None:
        """A child waits for the lock that its parent held when it forked."""
        lock = state.lock("job").acquire()
        monkeypatch.setattr(lock, "_process", -1)
        with pytest.raises(LockTimeout) as caught:
            state.lock("job", wait=0.05).acquire()
        assert not isinstance(caught.value, Deadlock)
        lock.release()

    def test_forked(self, state: State) -> None:
        """A child waits for the lock of the thread that forked it as any other process does."""
        with state.lock("job"):
            raised = crowd.in_child(state.lock("job", wait=0.05).acquire)
        assert raised[0] == "LockTimeout"

    def test_get_or_set(self, state: State) -> None:
        """A value that is computed from itself is an error at once, and not computed."""
        with pytest.raises(Deadlock, match="'a'.*make"):
            state.get_or_set("a", lambda: state.get_or_set("a", lambda: 1))
        assert state.get_or_set("a", lambda: state.get_or_set("b", lambda: 2)) == 2

    def test_update(self, state: State) -> None:
        """A change that always changes its own key is an error, and no endless loop."""

        def change(value: int) -> int:
            state.update("n", lambda inner: inner + 1, default=0)
            return value + 1

        with pytest.raises(Deadlock, match="'n'"):
            state.update("n", change, default=0)
        assert state.update("n", lambda value: -1) == -1


@ONE_OF_EACH_KIND
class TestUpdate:
    def test_queue(self, state: State, waiting: Time) -> None:
        """Who loses to others and is late gets into a queue, and others step back."""
        runs = []

        def change(value: int) -> int:
            seconds = state.namespace("contention", TEXTS).ttl("n")
            runs.append(seconds is not None and 0 < seconds <= contention.LEASE_SECONDS)
            waiting.now += 0.02
            if len(runs) < 4:
                state.set("n", 10 * len(runs))
            return value + 1

        assert state.update("n", change, default=0) == 31
        assert runs == [False, False, True, True]
        assert record(state, "n", "contention") == []

    def test_winner_steps_back(self, state: State, waiting: Time) -> None:
        """Who changes a value over and over waits once another one is in its queue."""
        queues = state.namespace("contention", TEXTS)

        def change(value: int) -> int:
            waiting.now += 0.02
            return value + 1

        state.update("n", change, default=0)
        queues.set("n", "other", 30)
        state.update("n", change)
        assert state.get("n") == 2
        joined = []

        def asleep() -> None:
            if len(words := record(state, "n", "contention")) == 2:
                joined.append(words)
                queues.delete("n")

        waiting.asleep = asleep
        assert state.update("n", change) == 3
        assert [words[0] for words in joined] == ["other"]
        assert record(state, "n", "contention") == []

    def test_time_slice(self, state: State, waiting: Time) -> None:
        """Who is handed a value changes it again in its time slice, then lets in the next."""
        queues = state.namespace("contention", TEXTS)

        def contended(value: int) -> int:
            queues.set("n", f"{record(state, 'n', 'contention')[0]} other", 30)
            return value + 1

        def longer(value: int) -> int:
            waiting.now += 2 * fairness.SLICE_SECONDS
            return value + 1

        state._contended()._remember("n")  # As one does who has waited in the queue before.
        assert state.update("n", contended, default=0) == 1
        mark, *others = record(state, "n", "contention")
        assert (mark[0], others) == ("~", ["other"])
        assert state.update("n", lambda value: value + 1) == 2
        assert record(state, "n", "contention") == [mark, "other"]
        assert state.update("n", longer) == 3
        assert record(state, "n", "contention") == ["~", "other"]

    def test_costs_nothing(
        self, state: State, waiting: Time, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Alone, an update is one reading and one swap, at whatever pace they come."""
        done = []
        values, transact = state.store.values, state.store.transact

        def reading(keys: Any) -> Any:
            done.append("values")
            return values(keys)

        def writing(keys: Any, operation: Any) -> Any:
            done.append(type(operation).__name__)
            return transact(keys, operation)

        monkeypatch.setattr(state.store, "values", reading)
        monkeypatch.setattr(state.store, "transact", writing)
        for pause in (0, 0, 0, 0.05, 0.05, 0.05):
            waiting.now += pause
            state.update("n", lambda value: value + 1, default=0)
        assert done == ["values", "Swap"] * 6

    def test_queue_is_no_condition(
        self, state: State, waiting: Time, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A value changes although its queue has no room, and though that cannot be left."""
        lost: list[int] = []

        def change(value: int) -> int:
            if len(lost) % 3 < 2:
                lost.append(value)
                waiting.now += 0.02
                state.set("n", value + 1)
            return value + 1

        def failing(keys: Any, operation: Any) -> Any:
            if b"contention" in keys[0] and type(operation) is Swap:
                raise StoreUnavailable("gone")
            return transact(keys, operation)

        small = State(state.store, prefix=state.key_prefix, max_value_bytes=20)
        assert small.update("n", change, default=0) == 3
        lost.clear()
        transact = state.store.transact
        monkeypatch.setattr(state.store, "transact", failing)
        assert state.update("n", change) == 6

    def test_change_that_was_made(
        self, state: State, waiting: Time, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A change that was made is no error, though the store fails when the queue is seen to."""
        store, gone = state.store, StoreUnavailable("gone")
        values, transact, hits = store.values, store.transact, []
        queues = state.namespace("contention", TEXTS)

        def failing(real: Callable[..., Any]) -> Callable[..., Any]:
            def call(keys: Any, *arguments: Any) -> Any:
                if b"contention" in keys[0]:
                    hits.append(real.__name__)
                    raise gone
                return real(keys, *arguments)

            return call

        def change(value: int) -> int:
            waiting.now += 2 * fairness.SLICE_SECONDS
            return value + 1

        def contended(value: int) -> int:
            queues.set("n", f"{record(state, 'n', 'contention')[0]} other", 30)
            return value + 1

        monkeypatch.setattr(store, "values", failing(values))
        assert [state.update("n", change, default=0) for _ in range(2)] == [1, 2]
        monkeypatch.setattr(store, "values", values)
        state._contended()._remember("n")
        assert state.update("n", contended) == 3
        monkeypatch.setattr(store, "transact", failing(transact))
        assert state.update("n", change) == 4
        assert hits == ["values", "transact"]

    def test_dead_holder(self, state: State, waiting: Time, clock: Any) -> None:
        """One who dies at the head of the queue keeps nobody from changing the value for long."""
        state.set("n", 1)
        assert fairness.Record(state.namespace("contention", TEXTS).keyspace, "n").take(
            "dead", contention.LEASE_SECONDS, 0
        )
        lost = []

        def change(value: int) -> int:
            if len(lost) < 2:
                lost.append(value)
                waiting.now += 0.02
                state.set("n", value + 1)
            return value + 1

        waiting.asleep = lambda: waiting.now > 1000.1 and clock.advance(61)
        assert state.update("n", change) == 4
        assert waiting.now < 1010

    def test_nobody_has_to_hold_the_lock(self, state: State, waiting: Time) -> None:
        """A value changes although another one holds the lock of its queue for ever."""
        state.set("n", 1)
        state.namespace("contention", TEXTS).set("n", "other", 0)
        lost = []

        def change(value: int) -> int:
            if len(lost) < 2:
                lost.append(value)
                waiting.now += 0.02
                state.set("n", value + 1)
            return value + 1

        assert state.update("n", change) == 4


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
    answers = crowd.run(
        "forked", partial(open_state, race_settings), take_and_take, WORKERS, no_look
    ).answers
    held = [answer for answer in answers if answer.result == "held"]
    assert len(held) == WORKERS * HOLDS
    first = min(max(each.ended for each in held if each.worker == me) for me in range(WORKERS))
    assert {each.worker for each in held if each.ended <= first} == set(range(WORKERS))


def no_look(state: Any) -> None: ...
