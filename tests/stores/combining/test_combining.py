"""Operations that wait for a store at the same time are done in one step, each for its caller."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

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
    NotACounter,
    OutOfBounds,
    StoreFull,
    StoreUnavailable,
)
from sharedstate.stores.combining import Combining, combining
from sharedstate.stores.combining.together import do_together
from sharedstate.stores.combining.waiting import Waiting
from sharedstate.stores.operations import (
    Add,
    Batch,
    Each,
    Get,
    Increment,
    Once,
    Put,
    Remove,
    Swap,
)


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
