"""What only the store `lmdb` can meet: its meta pages, its room, and damaged files."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from sharedstate import State, StoreFull, StoreUnavailable
from sharedstate.stores import lmdb as lmdb_store


@contextmanager
def opened(directory: Path, **settings: Any) -> Iterator[State]:
    state = State.from_settings({"CACHE_TYPE": "lmdb", "CACHE_DIR": str(directory), **settings})
    try:
        yield state
    finally:
        state.close()


class TestFailedMetaPage:
    """LMDB refuses every transaction after a meta page could not be written (MDB_PANIC)."""

    @pytest.fixture
    def state(self, tmp_path: Path) -> Iterator[State]:
        with opened(tmp_path, CACHE_DURABILITY="full") as state:
            state.inc("n")
            yield state

    @pytest.fixture(params=["/dev/full", "/dev/null"])
    def failing(self, request: pytest.FixtureRequest, state: State, tmp_path: Path) -> str:
        """Lets the descriptor by which LMDB writes meta pages lead to where that fails.

        It is one of its own with `CACHE_DURABILITY="full"`, so that pages of data are written.
        """
        [meta] = [fd for fd in descriptors_of(tmp_path / "data.mdb") if is_synchronous(fd)]
        mode = os.O_WRONLY if request.param == "/dev/full" else os.O_RDONLY
        target = os.open(request.param, mode)
        os.dup2(target, meta)
        os.close(target)
        return request.param

    def test_the_next_operation_works(self, state: State, failing: str, tmp_path: Path) -> None:
        """The write is an error and not applied; all others are there, and it goes on at once."""
        expected = StoreFull if failing == "/dev/full" else StoreUnavailable
        with pytest.raises(expected, match=str(tmp_path)):
            state.inc("n")
        assert state.get("n") == 1
        assert state.inc("n") == 2
        assert state.keys() == ["n"]


def descriptors_of(path: Path) -> list[int]:
    """This process's open descriptors of a file."""
    links = [link for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
    return [int(link.name) for link in links if os.path.realpath(link) == str(path)]


def is_synchronous(descriptor: int) -> bool:
    return bool(fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_DSYNC)


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
