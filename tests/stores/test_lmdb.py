"""What only the store `lmdb` can meet: its meta pages, its room, and damaged files."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import lmdb.verify
import pytest
from backends import innermost

from sharedstate import State, StoreFull, StoreUnavailable
from sharedstate.stores.lmdb import check as lmdb_check
from sharedstate.stores.lmdb import store as lmdb_store
from sharedstate.stores.operations import Increment
from sharedstate.stores.support import watch

ROOT = Path(__file__).parents[2]


@contextmanager
def opened(directory: Path, **settings: Any) -> Iterator[State]:
    state = State.from_settings({"CACHE_TYPE": "lmdb", "CACHE_DIR": str(directory), **settings})
    try:
        yield state
    finally:
        state.close()


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
        for page in range(0, len(whole) // 4096, 3):
            byte, bit = [(10, page % 6), (17, 4), (17, 5), (21, 4)][page % 4]
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


class TestChecks:
    """A file is checked before it is opened where damage is possible, and only there."""

    @pytest.fixture
    def checks(self, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        """The files that were checked, in this process."""
        checked = []
        verify = lmdb.verify.verify

        def recorded(path: str, **options: Any) -> list[str]:
            checked.append(path)
            return verify(path, **options)

        monkeypatch.setattr(lmdb.verify, "verify", recorded)
        return checked

    def test_after_an_orderly_end_there_is_none(self, tmp_path: Path, checks: list[str]) -> None:
        """Neither after a close nor after the end of an interpreter that has not closed it."""
        with opened(tmp_path) as state:
            assert state.inc("n") == 1
        run(tmp_path, "state.inc('n')")
        with opened(tmp_path) as state, opened(tmp_path) as other:
            assert state.inc("n") == 3
            assert other.inc("n") == 4
        assert checks == []

    def test_after_any_other_end_there_is_one(self, tmp_path: Path, checks: list[str]) -> None:
        """One for all who open it from then on, as long as somebody has it open."""
        run(tmp_path, "state.inc('n'); os.kill(os.getpid(), 9)", status=-9)
        with opened(tmp_path) as state:
            assert state.inc("n") == 2
            assert checks == [str(tmp_path / "data.mdb")]
            # In other processes a check would fail.
            run(tmp_path, "lmdb.verify.verify = None; state.inc('n'); os.kill(os.getpid(), 9)", -9)
            state.close()
            assert state.inc("n") == 4
        assert len(checks) == 1

    def test_after_a_start_of_the_machine_there_is_one(
        self, tmp_path: Path, checks: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A power cut may have taken what was written before an orderly end."""
        with opened(tmp_path) as state:
            state.inc("n")
            state.close()
            (tmp_path / "boot").write_text("another")
            monkeypatch.setattr(lmdb_check, "_BOOT_ID", tmp_path / "boot")
            assert state.inc("n") == 2
        assert len(checks) == 1

    def test_a_child_is_no_user(self, tmp_path: Path) -> None:
        """One that was forked while the file was open, and leaves it alone, has it open no more."""
        reading, writing = os.pipe()
        with opened(tmp_path) as state:
            state.inc("n")
            pid = os.fork()
            if not pid:
                os.write(writing, b".")
                signal.pause()
                os._exit(1)
            os.read(reading, 1)  # Its own handlers of the fork have run.
        try:
            with (tmp_path / "checked").open() as checked:
                fcntl.flock(checked, fcntl.LOCK_EX | fcntl.LOCK_NB)
        finally:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            os.close(reading)
            os.close(writing)

    def test_one_that_lasts_is_an_error_for_others(self, tmp_path: Path) -> None:
        """They wait for it for their time-out, and are served when it is over."""
        with opened(tmp_path, CACHE_TIMEOUT="0.05") as state:
            state.inc("n")
            state.close()
            with (tmp_path / "checked").open() as checking:
                fcntl.flock(checking, fcntl.LOCK_EX)
                with pytest.raises(StoreUnavailable, match="being checked"):
                    state.inc("n")
            assert state.inc("n") == 2


def run(directory: Path, code: str, status: int = 0) -> None:
    """Run the code in an interpreter of its own, with `state` on this directory."""
    prelude = (
        "import os, sys, lmdb.verify; from sharedstate import State;"
        "state = State.from_settings({'CACHE_TYPE': 'lmdb', 'CACHE_DIR': sys.argv[1]});"
    )
    command = [sys.executable, "-c", prelude + code, str(directory)]
    assert subprocess.run(command, cwd=ROOT).returncode == status


# Ways in which a file that is open goes from its path, `directory / "data.mdb"`.


def _delete_the_directory(directory: Path) -> None:
    shutil.rmtree(directory)


def _move_the_directory(directory: Path) -> None:
    directory.rename(directory.with_name("old"))


def _replace_the_directory(directory: Path) -> None:
    shutil.copytree(directory, directory.with_name("copy"))
    directory.rename(directory.with_name("old"))
    directory.with_name("copy").rename(directory)


def _move_the_one_above(directory: Path) -> None:
    directory.parent.rename(directory.parent.with_name("old"))


def _delete_the_file(directory: Path) -> None:
    (directory / "data.mdb").unlink()


def _replace_the_file(directory: Path) -> None:
    shutil.copy(directory / "data.mdb", directory / "copy")
    (directory / "copy").replace(directory / "data.mdb")


GONE = [_delete_the_directory, _move_the_directory, _move_the_one_above, _delete_the_file]
REPLACED = [_replace_the_directory, _replace_the_file]


class TestReplacedFile:
    """No write is acknowledged that nobody else sees: the first one after it is an error."""

    @pytest.fixture(params=["inotify", "without"], autouse=True)
    def way(self, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(watch, "_CHECK_SECONDS", 1000)
        if request.param == "without":
            monkeypatch.setattr(watch, "_queue_of", lambda path: None)

    @pytest.mark.parametrize("change", [*GONE, *REPLACED])
    def test_the_next_write_is_an_error(self, tmp_path: Path, change: Any) -> None:
        """The one after it uses what is at the path then."""
        with opened(tmp_path / "above" / "directory") as state:
            state.set("n", 6)
            state.inc("n")
            change(tmp_path / "above" / "directory")
            with pytest.raises(StoreUnavailable, match="deleted or replaced"):
                state.inc("n")
            assert state.inc("n") == (8 if change in REPLACED else 1)

    def test_what_happens_beside_it_is_none(self, tmp_path: Path) -> None:
        """Neither other modes nor other files are."""
        with opened(tmp_path / "directory") as state:
            state.set("n", 7)
            (tmp_path / "directory" / "data.mdb").chmod(0o640)
            (tmp_path / "directory" / "other").mkdir()
            (tmp_path / "directory" / "other").rename(tmp_path / "other")
            assert [state.inc("n") for _ in range(3)] == [8, 9, 10]

    def test_a_child_watches_for_itself(self, tmp_path: Path) -> None:
        """A fork leaves the parent's watch, and nothing open that closing does not close."""
        before = set(os.listdir("/proc/self/fd"))
        with opened(tmp_path / "directory") as state:
            state.set("n", 7)
            pid = os.fork()
            if not pid:
                with suppress(BaseException):
                    os._exit(state.inc("n"))
                os._exit(1)
            assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 8
            _move_the_directory(tmp_path / "directory")
            with pytest.raises(StoreUnavailable, match="deleted or replaced"):
                state.inc("n")
        assert set(os.listdir("/proc/self/fd")) == before


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
