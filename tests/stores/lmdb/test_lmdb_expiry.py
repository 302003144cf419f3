"""Records of `lmdb` that expire, and the index by which they are found."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from lmdb_states import opened

from sharedstate import State, StoreFull
from sharedstate.stores.lmdb import store as lmdb_store


class Time:
    """A clock for a store, that stands still until it is moved."""

    now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


class TestExpired:
    """Records that have expired cost neither room nor, in a listing, time without bound."""

    @pytest.fixture
    def time(self) -> Time:
        return Time()

    @pytest.fixture
    def state(self, tmp_path: Path, time: Time) -> Iterator[State]:
        with opened(tmp_path, CACHE_MAX_BYTES=1 << 20) as state:
            state.store.clock = time
            yield state

    def test_a_store_full_of_expired_records_is_not_full(self, state: State, time: Time) -> None:
        """The first large value that comes once all has expired finds room, whatever its size."""
        with pytest.raises(StoreFull):
            for i in range(10_000):
                state.set(f"k{i}", b"x" * 100, timeout=10)
        with pytest.raises(StoreFull):
            state.set("large", b"x" * 500_000)
        time.now += 11
        assert state.set("large", b"x" * 500_000)
        assert state.keys() == ["large"]

    def test_a_batch_collects_as_many_as_it_writes(self, state: State, time: Time) -> None:
        """Batches of 300 that live for a moment never leave many more than two of them behind."""
        for i in range(20):
            state.set_many({f"{i}-{j}": 1 for j in range(300)}, timeout=1)
            time.now += 2
            assert state.store.measure()["entries"] <= 600

    def test_a_snapshot_is_of_what_lives(self, state: State, time: Time) -> None:
        """Neither what has expired nor the index of expiries is in it."""
        state.set_many({"a": 1, "b": 2}, timeout=10)
        state.set("c", 3)
        state.touch("b", timeout=20)
        time.now += 11
        assert [key[-1:] for key, _ in state.store.snapshot()] == [b"b", b"c"]

    def test_a_page_ends_after_many_expired_records(
        self, tmp_path: Path, state: State, time: Time, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It has a cursor then, also without a key; with the pages after it nothing is left out."""
        monkeypatch.setattr(lmdb_store, "_EXPIRED_A_PAGE", 10)
        state.set_many({f"k{i:03}": 1 for i in range(100)}, timeout=1)
        time.now += 2
        with opened(tmp_path) as other:  # Whose first write would collect.
            other.store.clock = time
            other.store._written = -1000
            other.set_many({"k000": 1, "k095": 1, "z": 1})
        pages = []
        cursor: str | None = None
        while not pages or cursor:
            items, cursor = state.items(cursor=cursor)
            pages.append([item.key for item in items])
        assert len(pages) == 10 and [] in pages
        assert sum(pages, []) == ["k000", "k095", "z"] == state.keys()
        assert [item.key for item in state.items(limit=1)[0]] == ["k000"]


def _renew_by_set(state: State) -> None:
    state.set("k", 2, timeout=100)


def _renew_by_touch(state: State) -> None:
    state.touch("k", timeout=100)


def _stay_by_set(state: State) -> None:
    state.set("k", 2)


def _stay_by_touch(state: State) -> None:
    state.touch("k", timeout=0)


def _begin_anew_after_delete(state: State) -> None:
    state.delete("k")
    state.add("k", 2)


def _begin_anew_after_clear(state: State) -> None:
    state.clear()
    state.add("k", 2)


class TestIndexOfExpiries:
    """The collector finds what has expired in an index: a wrong entry there would cost a record."""

    @pytest.mark.parametrize(
        "renew",
        [
            *(_renew_by_set, _renew_by_touch, _stay_by_set, _stay_by_touch),
            *(_begin_anew_after_delete, _begin_anew_after_clear),
        ],
    )
    def test_what_was_renewed_is_not_collected(self, tmp_path: Path, renew: Any) -> None:
        """It is there when its first expiry has passed, and its first entry is not."""
        with opened(tmp_path) as state:
            time = state.store.clock = Time()
            state.set("k", 1, timeout=10)
            renew(state)
            assert index_of(state) == (1 if state.ttl("k") else 0)
            time.now += 11
            assert state.store.purge() == 0
            assert state.has("k")
            time.now += 100
            state.store.purge()
            assert index_of(state) == 0

    def test_a_counter_that_has_expired_begins_anew(self, tmp_path: Path) -> None:
        """Also where the collector has not come yet, and with a timeout of its own again."""
        with opened(tmp_path) as state:
            time = state.store.clock = Time()
            assert [state.inc("n", timeout=10) for _ in range(3)] == [1, 2, 3]
            time.now += 10
            state.store._written = 0
            assert [state.inc("n", timeout=10) for _ in range(2)] == [1, 2]
            assert (state.ttl("n"), index_of(state)) == (10, 1)


def index_of(state: State) -> int:
    """How many entries the index has."""
    environment = state.store._opened.value
    with environment.env.begin() as transaction:
        return transaction.stat(environment.expiries)["entries"]
