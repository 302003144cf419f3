"""Stores and disks that are full."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from crowd import in_child
from lifecycle import (
    Settings,
    embedded,
    fill,
    inc_anew,
    of,
    opened,
)

from sharedstate import SharedStateError, State, StoreFull
from sharedstate.stores.support.file_lock import FileLock


class TestFull:
    @of("simple", "filesystem", "lmdb")
    @pytest.mark.slow
    def test_bound(self, cache_settings: Settings, tmp_path: Path) -> None:
        """Past `CACHE_MAX_BYTES` writes are refused, nothing is lost, and deleting makes room."""
        limit = 1 << 20
        with opened(cache_settings, CACHE_MAX_BYTES=limit) as state:
            state.set("n", 0)
            stored = fill(state, 5000)
            assert limit // 2 < 5000 * len(stored) <= limit
            check(state, stored)
            with pytest.raises(StoreFull):
                state.set("another", "x" * 5000)
            with pytest.raises(StoreFull):
                state.set_many({"small": 1, "large": "x" * 5000})
            assert not state.has("small")
            check(state, stored)
            for key in list(stored)[::3]:
                assert state.delete(key)
                del stored[key]
            assert state.inc("n") == 1
            more = fill(state, 5000, start=1000)
            assert len(more) > len(stored) // 4
            check(state, stored | more)
            for file in tmp_path.glob("*.sqlite3"):
                assert file.stat().st_size <= limit
            assert state.clear()
            assert state.keys() == []
            assert len(fill(state, 5000)) > 100

    @embedded
    @pytest.mark.slow
    def test_disk(self, cache_settings: Settings, small_disk: Path) -> None:
        """On a full disk writes are refused, nothing is lost, and room lets them go on."""
        settings = cache_settings | {"CACHE_DIR": str(small_disk / "state")}
        # In a child, as a file that is mapped on a full disk may kill the process.
        assert in_child(_fill_the_disk, settings, small_disk) == "all there"

    @embedded
    @pytest.mark.slow
    def test_opened_on_a_full_disk(self, cache_settings: Settings, small_disk: Path) -> None:
        """A store that is first used on a full disk is an error, and fine when there is room."""
        use_up(small_disk / "ballast")
        settings = cache_settings | {"CACHE_DIR": str(small_disk / "state")}
        kind, _ = in_child(inc_anew, settings)
        assert kind in ("StoreFull", "StoreUnavailable", "ConfigurationError")
        (small_disk / "ballast").unlink()
        assert in_child(inc_anew, settings) == 1

    @pytest.fixture
    def small_disk(self, tmp_path: Path) -> Iterator[Path]:
        """A file system of 4 MiB."""
        disk = tmp_path / "disk"
        disk.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", "size=4m,mode=0700", "tmpfs", str(disk)]
        if os.name == "nt" or os.geteuid() or shutil.which("mount") is None:
            pytest.skip("only root can mount a small disk")
        mounted = subprocess.run(command, capture_output=True, text=True)
        if mounted.returncode:
            pytest.skip(f"cannot mount a small disk: {mounted.stderr.strip()}")
        yield disk
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


def check(state: State, stored: dict[str, str]) -> None:
    """All is there, for those who open the store anew too."""
    assert {key: state.get(key) for key in stored} == stored
    assert state.get_dict(*stored) == stored


def use_up(path: Path) -> None:
    """Fill the disk with a file."""
    with path.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(1 << 12))
        except OSError:
            pass


def _fill_the_disk(settings: Settings, disk: Path) -> str:
    (disk / "ballast").write_bytes(bytes(1 << 20))
    with opened(settings) as state:
        state.inc("n")
        stored = fill(state, 5000)
        use_up(disk / "more ballast")
        with pytest.raises(StoreFull):
            state.set("k0", "y" * 100_000)
        check(state, stored)
        (disk / "ballast").unlink()
        stored |= {"after": "x" * 5000}
        state.set("after", "x" * 5000)
        assert state.inc("n") == 2
        check(state, stored)
    with opened(settings) as state:
        check(state, stored)
    return "all there"


@pytest.mark.slow
@of("filesystem")
def test_full_of_expired(cache_settings: Settings) -> None:
    """A store that holds nothing but expired records takes a write of any kind and size."""
    with opened(cache_settings, CACHE_MAX_BYTES=1 << 20) as state:
        now = 1_800_000_000.0
        state.store.clock = lambda: now
        for write in (
            lambda: state.set("large", "x" * 500_000, timeout=1),
            lambda: state.set_many({f"many{i}": "x" * 150 for i in range(1000)}, timeout=1),
            lambda: state.inc("counter", timeout=1),
        ):
            with pytest.raises(StoreFull):
                for i in range(2000):
                    state.set_many({f"{i} {j}": "x" * 50 for j in range(30)}, timeout=1)
            with pytest.raises(StoreFull):
                for i in range(2000):
                    state.set(f"{i}", "x" * 50, timeout=1)
            now += 2
            write()
            assert len(state.keys()) in (1, 1000)
            now += 2


@of("filesystem")
@pytest.mark.parametrize("kind", ["set", "inc"])
def test_a_reader_that_stays(kind: str, cache_settings: Settings, tmp_path: Path) -> None:
    """The file and its log keep their bound while somebody reads, and writes go on after that."""
    limit = 2 << 20
    with opened(cache_settings, CACHE_MAX_BYTES=limit) as state:
        state.set("n", 0)
        reader = sqlite3.connect(state.store.describe()["location"], isolation_level=None)
        reader.execute("BEGIN")
        assert reader.execute("SELECT count(*) FROM entries").fetchall() == [(1,)]

        def write(i: int) -> None:
            state.inc("n") if kind == "inc" else state.set("n", f"{i}".ljust(5000, "x"))

        with pytest.raises(StoreFull, match="reads it"):
            for i in range(10_000):
                write(i)
        sizes = {file.name: file.stat().st_size for file in tmp_path.glob("*.sqlite3*")}
        assert limit < sum(sizes.values()) < limit + 200_000, sizes
        assert sizes["sharedstate.sqlite3"] < 20_000
        with pytest.raises(StoreFull):
            state.set("m", 1)
        before = state.get("n")
        reader.close()
        for i in range(3000):
            write(i)
        assert before != state.get("n")
        assert sum(file.stat().st_size for file in tmp_path.glob("*.sqlite3*")) < limit


@of("filesystem")
def test_a_writer_is_no_reader_that_stays(
    cache_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To empty the log a write waits for another one, for as long as any write does."""
    with opened(cache_settings, CACHE_MAX_BYTES=1 << 20, CACHE_TIMEOUT=60) as state:
        state.set("n", 0)
        path = state.store.describe()["location"]
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN")
            assert other.execute("SELECT count(*) FROM entries").fetchall() == [(1,)]
            with pytest.raises(StoreFull, match="reads it"):
                for i in range(10_000):
                    state.set("n", f"{i}".ljust(5000, "x"))
            other.execute("COMMIT")
            other.execute("BEGIN IMMEDIATE")
            announced = []
            announce = FileLock.announce

            def announce_and_end(lock: FileLock) -> None:
                announce(lock)
                announced.append(lock)
                if len(announced) == 10:
                    other.execute("ROLLBACK")

            monkeypatch.setattr(FileLock, "announce", announce_and_end)
            state.set("n", "done")
        assert state.get("n") == "done"
        assert len(announced) >= 10


@embedded
@pytest.mark.slow
def test_expired_make_room(cache_settings: Settings) -> None:
    """A store that is full of what has expired is not full."""
    with opened(cache_settings, CACHE_MAX_BYTES=1 << 20) as small:
        now = time.time()
        small.store.clock = lambda: now
        with pytest.raises(StoreFull):
            for i in range(1000):
                small.set(f"k{i}", "x" * 5000, timeout=1)
        now += 2
        for i in range(500):
            try:
                small.set(f"k{i}", "y" * 5000, timeout=0.001)
            except SharedStateError as error:
                pytest.fail(f"write {i}: {error!r}")
            now += 0.01
