"""Operations for which nobody waits, and what becomes of them when the store is closed."""

from __future__ import annotations

import subprocess
import sys
import threading
from functools import partial
from typing import Any

import pytest
from combined import (
    ONE,
    ROOT,
    SECONDS,
    Company,
    Held,
    outcome,
    results,
)
from crowd import in_child

from sharedstate import (
    OutOfBounds,
    Overloaded,
    StoreUnavailable,
)
from sharedstate.stores.base import Store
from sharedstate.stores.combining import Combining
from sharedstate.stores.combining.committer import Committer
from sharedstate.stores.guards.breaker import Breaker
from sharedstate.stores.guards.observed import Observed
from sharedstate.stores.memory import MemoryStore
from sharedstate.stores.operations import (
    Increment,
    Put,
)


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


@pytest.mark.slow
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
