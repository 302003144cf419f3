"""What only the store `lmdb` can meet: its meta pages, its room, and damaged files."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import lmdb.verify
import pytest
from backends import innermost
from lmdb_states import opened

from sharedstate import State, StoreFull, StoreUnavailable
from sharedstate.stores.operations import Increment

ROOT = Path(__file__).parents[3]


class TestANewEnvironment:
    """LMDB does not sync what it begins with."""

    def test_it_is_there_when_it_is_whole(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """At full durability it has another name until then, and what is left of one is no harm."""
        new = tmp_path / "data.mdb.new"

        def fail(*arguments: Any) -> None:
            raise OSError("the power is cut")

        with opened(tmp_path, CACHE_DURABILITY="full") as state:
            with monkeypatch.context() as patched:
                patched.setattr(Path, "replace", fail)
                with pytest.raises(StoreUnavailable, match="the power is cut"):
                    state.inc("n")
            assert not (tmp_path / "data.mdb").exists()
            assert lmdb.verify.verify(str(new), subdir=False) == []
            new.write_bytes(bytes(4096))
            assert [state.inc("n"), state.inc("n")] == [1, 2]
            assert not new.exists()


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

    def test_the_next_operation_works(self, state: State, failing: str) -> None:
        """The write is an error and not applied; all others are there, and it goes on at once."""
        expected = StoreFull if failing == "/dev/full" else StoreUnavailable
        with pytest.raises(expected, match="full|cannot be used"):
            # Where the store is full a State would do it again, with success.
            state.store.transact((b"n",), Increment(1))
        assert state.get("n") == 1
        assert state.inc("n") == 2
        assert state.keys() == ["n"]


def descriptors_of(path: Path) -> list[int]:
    """This process's open descriptors of a file."""
    links = [link for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
    return [int(link.name) for link in links if os.path.realpath(link) == str(path)]


def is_synchronous(descriptor: int) -> bool:
    return bool(fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_DSYNC)


def test_what_a_dead_reader_kept_is_used_again(tmp_path: Path) -> None:
    """A reader that dies in its transaction keeps pages only until they are needed."""
    with opened(tmp_path, CACHE_MAX_BYTES=1 << 20) as state:
        state.set("n", 0)
        reading, writing = os.pipe()
        pid = os.fork()
        if not pid:
            with suppress(BaseException):
                state.get("n")
                with state.store._opened.value.env.begin() as transaction:
                    transaction.get(b"n")
                    os.write(writing, b".")
                    signal.pause()
            os._exit(1)
        os.read(reading, 1)
        os.close(reading)
        os.close(writing)
        with pytest.raises(StoreFull):
            for number in range(1, 100_000):
                assert state.inc("n") == number
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        assert [state.inc("n") for _ in range(3)] == [number, number + 1, number + 2]


# In a process of its own for each damaged file: uses it in every way, and says how that ended.
USE = """
import json, os, sys, traceback
from sharedstate import SharedStateError, State

def use(directory):
    state = State.from_settings({"CACHE_TYPE": "lmdb", "CACHE_DIR": directory})
    state.get_many(*(f"k{i}" for i in range(0, 300, 7)))
    state.keys()
    for i in range(0, 300, 3):
        state.set(f"k{i}", "y" * (i * 13 % 900), timeout=1000)
    state.delete_many(*(f"k{i}" for i in range(0, 300, 5)))
    state.set_many({f"n{i}": "z" * (i * 7 % 500) for i in range(200)})
    state.store.purge()
    state.clear()
    state.close()

for directory in sys.argv[1:]:
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            use(directory)
            ended = "fine"
        except SharedStateError as error:
            ended = f"{type(error).__name__}: {error}"
        except BaseException:
            ended = traceback.format_exc()
        os.write(writing, ended.encode())
        os._exit(0)
    os.close(writing)
    ended = os.read(reading, 10000).decode()
    os.close(reading)
    print(json.dumps([directory, os.waitpid(pid, 0)[1], ended]))
"""


class TestDamage:
    """What is in the file may be anything: the process survives, and says what is to be done."""

    @pytest.fixture
    def whole(self, tmp_path: Path) -> bytes:
        """A file of some 60 pages of every kind: branches, leaves, large values, free ones."""
        with opened(tmp_path) as state:
            for i in range(300):
                state.set(f"k{i}", "x" * (i * 37 % 700), timeout=i % 3 * 500)
            state.set("large", "x" * 20_000)
            state.delete_many(*(f"k{i}" for i in range(0, 300, 4)))
        return (tmp_path / "data.mdb").read_bytes()

    @pytest.mark.slow
    def test_no_bit_that_is_flipped_aborts_the_process(self, whole: bytes, tmp_path: Path) -> None:
        """In the header of a page or where its first entries lie: an error with the remedy."""
        for number, page in enumerate(range(0, len(whole) // 4096, 3)):
            byte, bit = [(10, number % 6), (17, 4), (17, 5), (21, 4)][number % 4]
            directory = tmp_path / f"{page}-{byte}-{bit}"
            directory.mkdir(mode=0o700)
            damaged = bytearray(whole)
            damaged[4096 * page + byte] ^= 1 << bit
            (directory / "data.mdb").write_bytes(damaged)
        directories = [str(path) for path in tmp_path.iterdir() if path.is_dir()]
        process = subprocess.run(
            [sys.executable, "-c", USE, *directories], cwd=ROOT, capture_output=True, text=True
        )
        ends = [json.loads(line) for line in process.stdout.splitlines()]
        assert len(ends) == len(directories), process.stderr
        refused = [end for end in ends if end[2] != "fine"]
        assert len(refused) > len(ends) / 3
        for directory, status, ended in refused:
            assert status == 0, f"{directory}: signal {status}"
            assert ended.startswith("StoreUnavailable: ") and directory in ended, ended
            assert "flask state restore" in ended

    def test_one_found_while_in_use(self, whole: bytes, tmp_path: Path) -> None:
        """It is refused from then on, also by those who open it, until it is brought back."""
        with opened(tmp_path) as state:
            assert state.get("k1") == "x" * 37
            (tmp_path / "data.mdb").write_bytes(whole[:8192] + bytes(len(whole) - 8192))
            with pytest.raises(StoreUnavailable, match=r"damaged or not LMDB.*restore"):
                state.get("k1")
            for _ in range(2):  # Not by LMDB any more.
                with pytest.raises(StoreUnavailable, match=r"data\.mdb is damaged.*restore"):
                    state.get("k1")
            with opened(tmp_path) as other, pytest.raises(StoreUnavailable, match="restore"):
                other.inc("n")
            (tmp_path / "data.mdb").write_bytes(whole)
            assert state.get("k1") == "x" * 37


def test_a_thread_that_comes_late_to_open_closes_nothing(tmp_path: Path) -> None:
    """Of threads that use it first together, one opens it, and the others leave that open."""
    state = State.from_settings({"CACHE_TYPE": "lmdb", "CACHE_DIR": str(tmp_path)})
    assert state.inc("n") == 1
    store = innermost(state.store)
    opened = store._opened.value
    assert store._open() is opened  # As by a thread that has seen nothing open a moment ago.
    assert opened.is_open
    assert state.inc("n") == 2
    state.close()
