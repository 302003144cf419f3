"""Operations that wait for a store at the same time are done in one step, each for its caller."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import crowd
import pytest
from backends import innermost
from crowd import GATE, in_child
from hypothesis import given, settings
from hypothesis import strategies as st

from race.judging.checkers import exactly_one_to
from sharedstate import (
    NotACounter,
    OutOfBounds,
    Overloaded,
    SharedStateError,
    State,
    StoreFull,
    StoreUnavailable,
)
from sharedstate.stores.base import Store
from sharedstate.stores.combining import Combining, combining, together
from sharedstate.stores.combining.committer import Committer
from sharedstate.stores.combining.together import do_together
from sharedstate.stores.combining.waiting import Waiting
from sharedstate.stores.guards.breaker import Breaker
from sharedstate.stores.guards.observed import Observed
from sharedstate.stores.memory import MemoryStore
from sharedstate.stores.operations import (
    Add,
    Batch,
    Each,
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

ROOT = Path(__file__).parents[2]
SECONDS = 30  # Guards against a hang, and nothing else.
Call = tuple[Sequence[bytes], Operation]

LEADER: Call = ([b"leader"], Put(b"x", 0))
ONE = Increment(1)


class Held(MemoryStore):
    """A store that tells what it is asked for, and holds an operation until it may go on."""

    has_server = False

    def __init__(self) -> None:
        super().__init__()
        self.timeout = SECONDS
        self.calls: list[tuple[list[bytes], Operation]] = []
        self.reads: list[list[bytes]] = []
        self.holds = False
        self.entered = threading.Semaphore(0)
        self.may_go = threading.Semaphore(0)
        self.fail: Callable[[Sequence[bytes], Operation], BaseException | None] = lambda *_: None

    def transact(self, keys: Sequence[bytes], operation: Operation) -> Any:
        self.calls.append((list(keys), operation))
        if self.holds:
            self.entered.release()
            assert self.may_go.acquire(timeout=SECONDS)
        if (error := self.fail(keys, operation)) is not None:
            raise error
        return super().transact(keys, operation)

    def read(self, keys: Sequence[bytes]) -> Any:
        self.reads.append(list(keys))
        return super().read(keys)


class Watched(deque[Any]):
    """A queue at which a test can wait until somebody has come."""

    def __init__(self) -> None:
        super().__init__()
        self.arrived = threading.Semaphore(0)

    def append(self, waiting: Any) -> None:
        super().append(waiting)
        self.arrived.release()


@pytest.fixture
def held() -> Held:
    return Held()


@pytest.fixture
def store(held: Held) -> Iterator[Combining]:
    store = Combining(held)
    store._queue = Watched()
    yield store
    held.holds = False
    held.may_go.release(100)
    store.close()


def outcome(store: Store, call: Call) -> Any:
    """The result, or the error."""
    try:
        return store.transact(*call)
    except BaseException as error:  # noqa: BLE001
        return error


class Company:
    """Threads of which the first is held in the store, and the others come after it."""

    def __init__(self, store: Combining, held: Held) -> None:
        self.store, self.held = store, held
        self.threads = ThreadPoolExecutor(40)

    def lead(self, call: Call = LEADER) -> Future[Any]:
        self.held.holds = True
        future = self.threads.submit(outcome, self.store, call)
        assert self.held.entered.acquire(timeout=SECONDS)
        self.held.holds = False
        return future

    def follow(self, *calls: Call, by: Store | None = None) -> list[Future[Any]]:
        """They come in this order."""
        found = []
        for call in calls:
            found.append(self.threads.submit(outcome, by or self.store, call))
            self.arrived()
        return found

    def arrived(self) -> None:
        queue: Any = self.store._queue
        assert queue.arrived.acquire(timeout=SECONDS)

    def go(self) -> None:
        self.held.may_go.release()


@pytest.fixture
def company(store: Combining, held: Held) -> Iterator[Company]:
    company = Company(store, held)
    yield company
    held.may_go.release(100)
    company.threads.shutdown()


def results(futures: Sequence[Future[Any]]) -> list[Any]:
    return [future.result(SECONDS) for future in futures]


def in_company(company: Company, *calls: Call) -> list[Any]:
    """What these calls return that come while the store is busy."""
    leader = company.lead()
    futures = company.follow(*calls)
    company.go()
    found = results(futures)
    assert leader.result(SECONDS) is None
    return found


class TestTogether:
    def test_alone(self, store: Combining, held: Held) -> None:
        """An operation that meets no other goes to the store as it is."""
        assert [store.transact([b"n"], ONE) for _ in range(3)] == [1, 2, 3]
        assert held.calls == [([b"n"], ONE)] * 3

    def test_each_its_own_result(self, company: Company, held: Held) -> None:
        """All that wait are one step of the store, and each caller gets its own result."""
        found = in_company(
            company,
            ([b"n"], ONE),
            ([b"n"], Increment(10)),
            ([b"a"], Add(b"text", 0)),
            ([b"a"], Add(b"other", 0)),
            ([b"a"], Swap(b"text", b"swapped", 0, 0)),
            ([b"t", b"n"], Once(ONE, b"f")),
            ([b"n", b"m"], Batch([(0, ONE), (1, ONE), (0, ONE)])),
            ([b"a"], Remove()),
        )
        assert found == [1, 11, True, False, (True, b"text"), (12, False), [13, 1, 14], True]
        assert len(held.calls) == 2
        keys, each = held.calls[1]
        assert keys == [b"n", b"a", b"t", b"m"]
        assert isinstance(each, Each) and len(each.steps) == 8

    def test_what_comes_meanwhile(
        self, company: Company, held: Held, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Those that come while the one that leads waits for other processes go along."""
        waits, goes_on = threading.Semaphore(0), threading.Semaphore(0)

        @contextmanager
        def host_lock(keys: Sequence[bytes]) -> Iterator[None]:
            waits.release()
            assert goes_on.acquire(timeout=SECONDS)
            yield

        monkeypatch.setattr(held, "host_lock", host_lock)
        leader = company.lead()
        first = company.follow(([b"n"], ONE))
        company.go()
        assert waits.acquire(timeout=SECONDS)
        others = company.follow(*[([b"n"], ONE)] * 2)
        goes_on.release()
        assert results([leader, *first, *others]) == [None, 1, 2, 3]
        assert len(held.calls) == 2

    def test_one_that_waits_is_done_as_it_is(self, company: Company, held: Held) -> None:
        """A single one that waited goes to the store without anything around it."""
        assert in_company(company, ([b"n"], ONE)) == [1]
        assert held.calls[1:] == [([b"n"], ONE)]

    def test_one_is_refused(self, company: Company, store: Combining) -> None:
        """What refuses one operation reaches its caller, and the others are done."""
        store.transact([b"text"], Put(b"x", 0))
        found = in_company(
            company,
            ([b"n"], ONE),
            ([b"text"], ONE),
            ([b"n"], Increment(5, maximum=3)),
            ([b"n"], ONE),
            ([b"n", b"text"], Batch([(0, ONE), (1, ONE)])),
        )
        assert (found[0], found[3]) == (1, 2)
        assert isinstance(found[1], NotACounter)
        assert isinstance(found[2], OutOfBounds)
        assert isinstance(found[4], NotACounter) and found[4].step == 1
        assert store.read([b"n"]) == [(b"2", float("inf"))]

    def test_reads_are_one_read(self, company: Company, held: Held) -> None:
        """Operations that write nothing are one read of the store."""
        found = in_company(company, ([b"a"], Get()), ([b"leader"], Get()), ([b"a"], Get()))
        assert found == [None, (b"x", float("inf")), None]
        assert held.reads == [[b"a", b"leader"]]
        assert len(held.calls) == 1

    def test_a_round_is_bounded(
        self, company: Company, held: Held, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Many, or long ones, are done in several steps."""
        monkeypatch.setattr(combining, "_ROUND", 3)
        assert in_company(company, *[([b"n"], ONE)] * 7) == [1, 2, 3, 4, 5, 6, 7]
        assert [len(call.steps) for _, call in held.calls[1:3]] == [3, 3]  # type: ignore[attr-defined]
        held.calls.clear()
        monkeypatch.setattr(combining, "_ROUND_BYTES", 100)
        in_company(company, *[([b"a"], Put(b"x" * 60, 0))] * 4)
        assert [len(call.steps) for _, call in held.calls[1:]] == [2, 2]  # type: ignore[attr-defined]


class TestErrors:
    def test_unknown_outcome(self, company: Company, held: Held) -> None:
        """Where a step may have been applied each caller has its own error, and none is tried."""
        failure = StoreUnavailable("the reply was lost", outcome_unknown=True)
        held.fail = lambda keys, operation: failure if isinstance(operation, Each) else None
        found = in_company(company, *[([b"n"], ONE)] * 3)
        assert len({id(error) for error in found}) == 3
        for error in found:
            assert isinstance(error, StoreUnavailable) and error.outcome_unknown
            assert str(error) == "the reply was lost" and error.__cause__ is failure
        assert len(held.calls) == 2

    def test_damage_of_one(self, company: Company, held: Held) -> None:
        """A record that makes the whole step fail does not fail the operations on other keys."""
        damaged = StoreUnavailable("damaged")
        held.fail = lambda keys, operation: damaged if b"bad" in keys else None
        found = in_company(company, ([b"n"], ONE), ([b"bad"], ONE), ([b"n"], ONE))
        assert found == [1, damaged, 2]
        assert not damaged.outcome_unknown

    def test_no_room(self, company: Company, held: Held) -> None:
        """Where there is no room for all there may be room for one."""
        held._max_bytes = 600
        found = in_company(company, ([b"n"], ONE), ([b"a"], Put(b"x" * 400, 0)), ([b"n"], ONE))
        assert (found[0], found[2]) == (1, 2)
        assert isinstance(found[1], StoreFull)

    def test_unexpected(self, company: Company, held: Held) -> None:
        """A fault of the store is not every caller's, where it has undone the step."""
        held.fail = lambda keys, operation: ValueError("a fault") if b"bad" in keys else None
        found = in_company(company, ([b"n"], ONE), ([b"bad"], ONE))
        assert found[0] == 1
        assert isinstance(found[1], ValueError)

    def test_unexpected_of_a_server(self, company: Company, held: Held) -> None:
        """Where it was sent to a server, nobody knows what a fault has left there."""
        held.has_server = True
        held.fail = lambda keys, operation: ValueError("a fault") if b"bad" in keys else None
        found = in_company(company, ([b"n"], ONE), ([b"bad"], ONE))
        for error in found:
            assert isinstance(error, StoreUnavailable) and error.outcome_unknown
        assert len(held.calls) == 2

    def test_no_response(self, held: Held) -> None:
        """A store that does not respond in time is not asked for each of them in turn."""
        held.timeout = 0
        held.fail = lambda keys, operation: StoreUnavailable("no response")
        waiting = [Waiting([b"n"], ONE, None) for _ in range(5)]
        do_together(held, waiting)
        assert len(held.calls) == 1
        errors = [one.error for one in waiting]
        assert len({id(error) for error in errors}) == 5
        assert {str(error) for error in errors} == {"no response"}


class TestTime:
    def test_no_time_for_reads(self, held: Held, monkeypatch: pytest.MonkeyPatch) -> None:
        """After writes that took the whole timeout nothing is read: it would take as long again."""
        now = [0.0]
        monkeypatch.setattr(together.time, "monotonic", lambda: now[0])
        held.fail = lambda *_: now.__setitem__(0, now[0] + held.timeout)
        write, read = Waiting([b"n"], ONE, None), Waiting([b"n"], Get(), None)
        do_together(held, [read, write])
        assert write.result == 1
        assert isinstance(read.error, Overloaded) and held.reads == []

    def test_in_the_queue(self, company: Company, store: Combining, held: Held) -> None:
        """One that waited for the timeout is withdrawn: it was not done, and is not."""
        leader = company.lead()
        held.timeout = 0.01
        [found] = results(company.follow(([b"n"], ONE)))
        assert isinstance(found, Overloaded) and not found.outcome_unknown
        assert "CACHE_TIMEOUT" in str(found)
        held.timeout = SECONDS
        company.go()
        assert leader.result(SECONDS) is None
        assert store.transact([b"n"], ONE) == 1

    def test_a_leader_that_does_not_return(
        self, company: Company, store: Combining, held: Held
    ) -> None:
        """When nothing was heard of a leader for the timeout the next one goes on without it."""
        first = company.lead()
        held.timeout = 0.01
        assert isinstance(results(company.follow(([b"n"], ONE)))[0], Overloaded)
        held.timeout = SECONDS
        assert [store.transact([b"n"], ONE) for _ in range(3)] == [1, 2, 3]
        second = company.lead()  # Two are in the store now, and the first one returns.
        others = company.follow(*[([b"n"], ONE)] * 3)
        company.go()
        company.go()
        assert [first.result(SECONDS), second.result(SECONDS)] == [None, None]
        assert results(others) == [4, 5, 6]
        assert store.transact([b"n"], ONE) == 7
        assert not store._lead.locked()

    def test_taken(self, store: Combining, held: Held) -> None:
        """Whether one was done that somebody has taken and does not return is not known."""
        held.timeout = 0.01
        with pytest.raises(StoreUnavailable) as caught:
            store._wait(Waiting([b"n"], ONE, None))  # It is in the queue no more.
        assert caught.value.outcome_unknown
        assert not isinstance(caught.value, Overloaded)

    def test_submitted(self, company: Company, store: Combining, held: Held) -> None:
        """One that was submitted is not done any more when it is older than the timeout."""
        company.lead()
        told: list[Any] = []
        done = threading.Event()
        store.submit([b"n"], ONE, lambda *each: told.append(each))
        store.submit([b"n"], ONE, lambda *each: (told.append(each), done.set()))
        store._queue[0].since -= SECONDS + 1
        company.go()
        assert done.wait(SECONDS)
        assert isinstance(told[0][1], Overloaded)
        assert told[1] == (1, None)

    def test_too_late_is_told_before_others_are_done(
        self, company: Company, store: Combining, held: Held
    ) -> None:
        """The store may take the whole timeout for these."""
        company.lead()
        told: list[Any] = []
        late, done = threading.Event(), threading.Event()
        store.submit([b"n"], ONE, lambda *each: (told.append(each), done.set()))
        store.submit([b"n"], ONE, lambda *each: (told.append(each), late.set()))
        store._queue[1].since -= SECONDS + 1
        held.holds = True
        company.go()
        assert held.entered.acquire(timeout=SECONDS)
        was_told, held.holds = late.is_set(), False
        company.go()
        assert done.wait(SECONDS)
        assert was_told and isinstance(told[0][1], Overloaded)
        assert told[1:] == [(1, None)]

    def test_the_queue_is_bounded(
        self,
        company: Company,
        store: Combining,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """Who comes when too many wait, or too much, is refused at once."""
        monkeypatch.setattr(combining, "_QUEUE", 2)
        company.lead()
        others = company.follow(*[([b"n"], ONE)] * 2)
        with pytest.raises(Overloaded):
            store.transact([b"n"], ONE)
        told: list[Any] = []
        store.submit([b"n"], ONE, lambda *each: told.append(each))
        assert isinstance(told[0][1], Overloaded)
        monkeypatch.setattr(combining, "_QUEUE", 100)
        monkeypatch.setattr(combining, "_LARGE", 10)
        monkeypatch.setattr(combining, "_QUEUE_BYTES", 30)
        large = ([b"a"], Batch([(0, Put(b"x" * 20, 0)), (0, ONE)]))
        others += company.follow(large, large)
        with pytest.raises(Overloaded):
            store.transact(*large)
        others += company.follow(([b"n"], ONE))
        company.go()
        found = results(others)
        assert [found[0], found[1], found[4]] == [1, 2, 3]


class TestInterrupted:
    @pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, GeneratorExit])
    def test_leader(
        self, company: Company, store: Combining, held: Held, error: type[BaseException]
    ) -> None:
        """The others of a round that is interrupted learn it, and those after them go on."""
        held.fail = lambda keys, operation: error() if isinstance(operation, Each) else None
        found = in_company(company, *[([b"n"], ONE)] * 3)
        assert isinstance(found[0], error)
        for other in found[1:]:
            assert isinstance(other, StoreUnavailable) and other.outcome_unknown
        held.fail = lambda *_: None
        assert store.transact([b"n"], ONE) == 1
        assert in_company(company, *[([b"n"], ONE)] * 3) == [2, 3, 4]

    def test_leader_of_its_own(self, company: Company, store: Combining, held: Held) -> None:
        """One that is interrupted in its own operation lets the next one lead."""
        leader = company.lead()
        others = company.follow(*[([b"n"], ONE)] * 3)
        held.fail = lambda keys, operation: KeyboardInterrupt() if b"leader" in keys else None
        company.go()
        assert isinstance(leader.result(SECONDS), KeyboardInterrupt)
        assert results(others) == [1, 2, 3]

    def test_waiter(self, company: Company, store: Combining, held: Held) -> None:
        """An operation whose caller was interrupted while it waited is not done."""

        interrupted = threading.Event()

        def interrupt(*_: Any) -> None:
            if not interrupted.is_set():
                interrupted.set()
                raise InterruptedError("by a signal")

        before = signal.signal(signal.SIGUSR1, interrupt)
        main = threading.main_thread().ident
        assert main is not None and threading.get_ident() == main
        try:
            leader = company.lead()

            def send() -> None:
                company.arrived()
                # One that comes just before Python sleeps does not wake it.
                while not interrupted.wait(0.01):
                    signal.pthread_kill(main, signal.SIGUSR1)

            sender = company.threads.submit(send)
            with pytest.raises(InterruptedError):
                store.transact([b"n"], ONE)
            sender.result(SECONDS)
        finally:
            signal.signal(signal.SIGUSR1, before)
        assert not store._queue
        company.go()
        assert leader.result(SECONDS) is None
        assert store.transact([b"n"], ONE) == 1

    def test_waiter_that_is_to_lead(self, company: Company, store: Combining) -> None:
        """One that was interrupted when it had just become the leader lets the next one lead."""
        company.lead()
        waiting = Waiting([b"n"], ONE, None)
        store._leave(waiting)
        company.arrived()
        others = company.follow(*[([b"n"], ONE)] * 2)
        company.go()
        assert waiting.woken.acquire(timeout=SECONDS)
        store._give_up(waiting)
        assert results(others) == [1, 2]
        assert not waiting.has_ended


class TestSubmit:
    def test_stores_without_it(self) -> None:
        """A store that does not combine does it at once."""
        told: list[Any] = []
        store = MemoryStore()
        store.submit([b"n"], ONE, lambda *each: told.append(each))
        store.submit([b"n"], Increment(1, maximum=1), lambda *each: told.append(each))
        assert told[0] == (1, None)
        assert told[1][0] is None and isinstance(told[1][1], OutOfBounds)

    def test_in_its_order(self, store: Combining) -> None:
        """Each is told once, without the caller waiting; one that fails does not stop others."""
        told: list[Any] = []
        done = threading.Event()

        def tell(last: bool, *each: Any) -> None:
            told.append(each)
            if last:
                done.set()
            raise ValueError("the caller's own fault")

        for i in range(50):
            store.submit([b"n"], ONE, partial(tell, i == 49))
        assert done.wait(SECONDS)
        assert told == [(number, None) for number in range(1, 51)]

    def test_beside_threads(self, company: Company, store: Combining, held: Held) -> None:
        """Threads and callbacks are done in one step."""
        leader = company.lead()
        told: list[Any] = []
        done = threading.Event()
        store.submit([b"n"], ONE, lambda *each: (told.append(each), done.set()))
        company.arrived()
        others = company.follow(([b"n"], ONE))
        company.go()
        assert done.wait(SECONDS)
        assert told == [(1, None)]
        assert results([leader, *others]) == [None, 2]
        assert len(held.calls[1][1].steps) == 2  # type: ignore[attr-defined]

    def test_metrics_count_single_operations(
        self, company: Company, store: Combining, held: Held
    ) -> None:
        """An observer before it hears of each operation, by its own name and result."""
        told: list[Any] = []
        observed = Observed(Breaker(store), lambda *each: told.append(each))
        company.lead()
        done = threading.Event()
        futures = company.follow(([b"n"], ONE), ([b"n"], Put(b"7", 0)), by=observed)
        observed.submit([b"n"], ONE, lambda *_: done.set())
        company.go()
        results(futures)
        assert done.wait(SECONDS)
        assert sorted(told, key=str) == [
            ("Increment", None, 1),
            ("Increment", None, 8),
            ("Put", None, None),
        ]

    def test_breaker(self, company: Company, store: Combining, held: Held) -> None:
        """A failure opens the breaker, before which nothing is submitted; a full queue does not."""
        breaker = Breaker(store)
        told: list[Any] = []
        done = threading.Semaphore(0)

        def submit(target: Store) -> BaseException | None:
            target.submit([b"n"], ONE, lambda *each: (told.append(each), done.release()))
            assert done.acquire(timeout=SECONDS)
            error: BaseException | None = told[-1][1]
            return error

        leader = company.lead()
        held.timeout = 0.01
        assert isinstance(results(company.follow(([b"n"], ONE), by=breaker))[0], Overloaded)
        held.timeout = SECONDS
        company.go()
        assert leader.result(SECONDS) is None
        assert submit(breaker) is None
        held.fail = lambda *_: StoreUnavailable("the server is down")
        assert str(submit(breaker)) == "the server is down"
        calls = len(held.calls)
        assert "tried again within a second" in str(submit(breaker))
        assert "tried again within a second" in str(outcome(breaker, ([b"n"], ONE)))
        assert len(held.calls) == calls


def committers() -> set[threading.Thread]:
    """The threads of all stores that combine; one of another test may just be ending."""
    return {thread for thread in threading.enumerate() if "committer" in thread.name}


class TestClose:
    def test_drained(self, company: Company, store: Combining, held: Held) -> None:
        """What was left before a store is closed is done; and it can be used again."""
        told: list[Any] = []
        before = committers()
        company.lead()
        for _ in range(10):
            store.submit([b"n"], ONE, lambda *each: told.append(each))
            company.arrived()
        closing = company.threads.submit(store.close)
        company.arrived()
        company.go()
        closing.result(SECONDS)
        assert told == [(number, None) for number in range(1, 11)]
        assert committers() <= before
        assert store.transact([b"n"], ONE) == 11
        again = threading.Event()
        store.submit([b"n"], ONE, lambda *_: again.set())
        assert again.wait(SECONDS)

    def test_while_others_submit(self) -> None:
        """Whatever is submitted while a store is closed again and again is done, once."""
        store = Combining(MemoryStore(timeout=SECONDS))
        told: list[Any] = []
        done = threading.Event()

        def tell(*each: Any) -> None:
            told.append(each)
            if len(told) == 2000:
                done.set()

        def submit() -> None:
            for _ in range(1000):
                store.submit([b"n"], ONE, tell)

        threads = [threading.Thread(target=submit) for _ in range(2)]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            store.close()
        assert done.wait(SECONDS)
        assert sorted(told) == [(number, None) for number in range(1, 2001)]
        store.close()

    def test_given_too_late(self) -> None:
        """What a thread is given after its end is done all the same."""
        committer, told = Committer(), []
        committer.end()
        committer.join(SECONDS)
        committer.give(lambda: told.append(1))
        assert told == [1]

    def test_collected(self) -> None:
        """The thread of a store that nobody has any more ends."""
        before = committers()
        store = Combining(MemoryStore())
        done = threading.Event()
        store.submit([b"n"], ONE, lambda *_: done.set())
        assert done.wait(SECONDS)
        [thread] = committers() - before
        del store
        thread.join(SECONDS)
        assert not thread.is_alive()

    @pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Of a fork beside threads.
    def test_fork(self, company: Company, store: Combining) -> None:
        """A child begins with an empty queue that nobody leads."""
        leader = company.lead()
        others = company.follow(*[([b"n"], ONE)] * 2)
        store.submit([b"n"], ONE, lambda *_: None)

        def child() -> list[Any]:
            store._store.holds = False  # type: ignore[attr-defined]
            told: list[Any] = []
            done = threading.Event()
            number = store.transact([b"n"], ONE)
            store.submit([b"n"], ONE, lambda *each: (told.append(each), done.set()))
            assert done.wait(SECONDS)
            return [number, *told]

        assert in_child(child) == [1, (2, None)]
        company.go()
        assert results([leader, *others]) == [None, 1, 2]


GEVENT = """
import gevent.monkey
gevent.monkey.patch_all()
import gevent, sys, time
from sharedstate.stores.combining import Combining
from sharedstate.stores.memory import MemoryStore
from sharedstate.stores.operations import Each, Increment, Put

class Slow(MemoryStore):
    steps = 0
    def transact(self, keys, operation):
        gevent.sleep(0.001)
        self.steps += 1
        return super().transact(keys, operation)

store = Combining(Slow())
numbers = []
def work():
    for _ in range(10):
        numbers.append(store.transact([b"n"], Increment(1)))
greenlets = [gevent.spawn(work) for _ in range(50)]
told = []
for _ in range(10):
    store.submit([b"m"], Increment(1), lambda *each: told.append(each))
gevent.sleep(0.002)
greenlets[0].kill()
gevent.joinall(greenlets, timeout=30)
while len(told) < 10:
    gevent.sleep(0.001)
assert told == [(number, None) for number in range(1, 11)], told
assert len(numbers) >= 490 and len(set(numbers)) == len(numbers), numbers
assert store._store.steps < 200, store._store.steps
assert store.transact([b"n"], Increment(1)) > 490
store.close()
print("done")
"""


def test_gevent() -> None:
    """Greenlets wait for each other as threads do, and one that is killed holds nobody up."""
    process = subprocess.run(
        [sys.executable, "-c", GEVENT],
        capture_output=True,
        text=True,
        timeout=2 * SECONDS,
        cwd=ROOT,
    )
    assert (process.stdout, process.stderr) == ("done\n", "")


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
        assert exactly_one_to([answer.result for answer in found.answers], 8 * 150)
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
