"""What a page of keys costs: in proportion to what is on it, whatever lies around."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

import pytest
from backends import BACKENDS, FakeClock

from sharedstate import State
from sharedstate.stores.base import Store

_STEPS = 100

pytestmark = pytest.mark.parametrize(
    "backend",
    [pytest.param(b, id=b.id) for b in BACKENDS if b.id in ("filesystem", "database-sqlite")],
)


class Work:
    """Counts the instructions of SQLite's virtual machine, in hundreds."""

    def __init__(self) -> None:
        self.done = 0

    def watch(self, connection: sqlite3.Connection) -> sqlite3.Connection:
        connection.set_progress_handler(self._count, _STEPS)
        return connection

    def _count(self) -> None:
        self.done += 1


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> Work:
    """Counts the work of all connections that are opened from here on."""
    work, connect = Work(), sqlite3.connect
    for module in (sqlite3, sqlite3.dbapi2):
        monkeypatch.setattr(module, "connect", lambda *a, **k: work.watch(connect(*a, **k)))
    return work


@pytest.fixture
def clock(work: Work, store: Store) -> FakeClock:
    return FakeClock(store, {})


def fill(state: State, prefix: str, count: int, timeout: float = 0) -> None:
    for start in range(0, count, 1000):
        names = (f"{prefix}{i:06}" for i in range(start, min(start + 1000, count)))
        state.set_many(dict.fromkeys(names, 1), timeout=timeout)


def pages(state: State, work: Work, prefix: str) -> Iterator[tuple[int, list[str]]]:
    """What each page costs, and its keys."""
    cursor = None
    while True:
        before = work.done
        items, cursor = state.items(prefix, cursor=cursor, limit=10)
        yield work.done - before, [item.key for item in items]
        if cursor is None:
            return


def test_what_lies_outside_costs_nothing(state: State, clock: FakeClock, work: Work) -> None:
    """A page does not look at the records before its prefix, nor at those before its cursor."""
    fill(state, "a", 5000)
    fill(state, "b", 100)
    fill(state, "c", 5000)
    found = list(pages(state, work, "b"))
    assert [key for _, keys in found for key in keys] == [f"b{i:06}" for i in range(100)]
    assert max(cost for cost, _ in found) <= 10


def test_expired_records_cost_a_bounded_amount(state: State, clock: FakeClock, work: Work) -> None:
    """Among many expired records a page ends early, and its cursor leads to all that live."""
    fill(state, "a", 3)
    fill(state, "b", 15_000, timeout=10)
    fill(state, "c", 3)
    clock.advance(11)
    found = list(pages(state, work, ""))
    lives = [f"{prefix}{i:06}" for prefix in "ac" for i in range(3)]
    assert [key for _, keys in found for key in keys] == lives
    assert len(found) in (3, 4)
    costs = [cost for cost, _ in found]
    assert max(costs) < sum(costs) / 2


def test_more_is_found_than_a_page_has_room_for(state: State, clock: FakeClock, work: Work) -> None:
    """Behind expired records many are read at once; what a page leaves is on the next one."""
    fill(state, "a", 20, timeout=10)
    fill(state, "b", 35)
    clock.advance(11)
    found = [key for _, keys in pages(state, work, "") for key in keys]
    assert found == [f"b{i:06}" for i in range(35)]
