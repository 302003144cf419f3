"""How long operations wait to be done together, and callers that are interrupted meanwhile."""

from __future__ import annotations

import signal
import threading
from typing import Any

import pytest
from combined import (
    ONE,
    SECONDS,
    Company,
    Held,
    in_company,
    results,
)

from sharedstate import (
    Overloaded,
    StoreUnavailable,
)
from sharedstate.stores.combining import Combining, combining, together
from sharedstate.stores.combining.together import do_together
from sharedstate.stores.combining.waiting import Waiting
from sharedstate.stores.operations import (
    Batch,
    Each,
    Get,
    Put,
)


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
