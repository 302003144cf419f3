"""A store is opened when it is used, once a process, and as often as it was closed."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from lifecycle import (
    SECONDS,
    Settings,
    embedded,
    opened,
)

from race.judging.checkers import exactly_one_to
from sharedstate import State, StoreUnavailable


def open_files(below: Path) -> list[str]:
    """The files below a directory that this process has open."""
    links = [Path(f"/proc/self/fd/{name}") for name in os.listdir("/proc/self/fd")]
    targets = [os.readlink(link) for link in links if link.is_symlink()]
    return [target for target in targets if target.startswith(str(below))]


class TestOpening:
    @embedded
    def test_lazy(self, cache_settings: Settings, tmp_path: Path) -> None:
        """A store that nobody has used has made nothing, nor has its directory to be usable."""
        state = State.from_settings(cache_settings | {"CACHE_DIR": str(tmp_path / "new")})
        assert list(tmp_path.iterdir()) == []
        state.inc("n")
        assert (tmp_path / "new").is_dir()
        state.close()

    def test_lazy_on_a_network(self) -> None:
        """A server that is down is no error before it is used, and an error in time then."""
        state = State.from_settings({"CACHE_TYPE": "redis", "CACHE_URL": "redis://127.0.0.1:1"})
        with pytest.raises(StoreUnavailable):
            state.inc("n")
        state.close()

    @embedded
    @pytest.mark.skipif(not os.path.exists("/proc/self/fd"), reason="needs Linux")
    @pytest.mark.parametrize("first", [State.inc, State.get])
    def test_damaged(
        self, cache_settings: Settings, tmp_path: Path, first: Callable[..., object]
    ) -> None:
        """What is refused as damaged is not left open: SQLite would remove its log at any time."""
        with opened(cache_settings) as state:
            state.inc("n")
        for path in tmp_path.rglob("*"):
            if path.suffix in (".sqlite3", ".mdb"):
                path.write_bytes(bytes(2 * path.stat().st_size))
        with opened(cache_settings) as state:
            with pytest.raises(StoreUnavailable):
                first(state, "n")
            found = [Path(name).suffix for name in open_files(tmp_path)]
        assert not {".sqlite3", ".sqlite3-wal", ".mdb"} & set(found)

    @embedded
    @pytest.mark.slow
    def test_many_threads(self, cache_settings: Settings, tmp_path: Path) -> None:
        """Threads that all come first share one opening, and closing it leaves nothing open."""
        for i in range(10):
            settings = cache_settings | {"CACHE_DIR": str(tmp_path / str(i))}
            state = State.from_settings(settings)
            gate = threading.Barrier(16)
            numbers: list[int] = []
            crowd = [
                threading.Thread(target=_count_at, args=(gate, state, numbers)) for _ in range(16)
            ]
            for thread in crowd:
                thread.start()
            for thread in crowd:
                thread.join(SECONDS)
            assert exactly_one_to(numbers, 16)
            state.close()
            if os.path.exists("/proc/self/fd"):
                assert open_files(tmp_path) == []

    @embedded
    def test_used_after_close(self, cache_settings: Settings, tmp_path: Path) -> None:
        """A store that was closed opens again."""
        with opened(cache_settings) as state:
            assert state.inc("n") == 1
            state.close()
            state.close()
            assert state.inc("n") == 2
            assert state.get("n") == 2

    @embedded
    def test_two_in_one_process(self, cache_settings: Settings) -> None:
        """Two applications in one process share the state, and one may close before the other."""
        with opened(cache_settings) as one, opened(cache_settings) as other:
            assert [one.inc("n"), other.inc("n"), one.inc("n")] == [1, 2, 3]
            one.close()
            assert [other.inc("n"), one.inc("n")] == [4, 5]

    @embedded
    def test_two_paths(self, cache_settings: Settings, tmp_path: Path) -> None:
        """Two that reach one directory by different paths share the state."""
        (tmp_path / "real").mkdir()
        (tmp_path / "link").symlink_to(tmp_path / "real")
        with (
            opened(cache_settings | {"CACHE_DIR": str(tmp_path / "real")}) as one,
            opened(cache_settings | {"CACHE_DIR": str(tmp_path / "link")}) as other,
        ):
            assert [one.inc("n"), other.inc("n"), one.inc("n")] == [1, 2, 3]

    @embedded
    @pytest.mark.slow
    def test_while_another_one_grows(self, cache_settings: Settings) -> None:
        """A file that another process makes longer at this moment is not taken for damaged."""
        fork = multiprocessing.get_context("fork")
        writes, began, stopped = fork.Semaphore(1), fork.Event(), fork.Event()
        writer = fork.Process(target=_grow, args=(cache_settings, writes, began, stopped))
        writer.start()
        try:
            assert began.wait(SECONDS)
            for _ in range(100):
                for _ in range(50):  # Done while this one opens the file.
                    writes.release()
                with opened(cache_settings) as state:
                    assert state.get("0")
        finally:
            stopped.set()
            writes.release()
            writer.join()
        assert writer.exitcode == 0


def _count_at(gate: threading.Barrier, state: State, numbers: list[int]) -> None:
    gate.wait(SECONDS)
    numbers.append(state.inc("n"))
    assert state.has("n")


def _grow(settings: Settings, writes: Any, began: Any, stopped: Any) -> None:
    with opened(settings) as state:
        for i in count():
            writes.acquire()
            if stopped.is_set():
                return
            state.set(str(i), "x" * 3000)
            began.set()
