"""The lock file of SQLite's writers: nobody takes it while nobody waits, and who waits is seen."""

from __future__ import annotations

import sqlite3
import struct
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from sharedstate import State, StoreUnavailable
from sharedstate.stores.support import file_lock
from sharedstate.stores.support.file_lock import FileLock

SECONDS = 30  # Guards against a hang, and nothing else.


@pytest.fixture(autouse=True)
def lasting_flags(monkeypatch: pytest.MonkeyPatch) -> None:
    """A flag that ends after milliseconds may end before it is looked at."""
    monkeypatch.setattr(file_lock, "_FLAG_SECONDS", 1000)


@contextmanager
def opened(path: Path) -> Iterator[FileLock]:
    lock = FileLock(path)
    assert lock.acquire(SECONDS)
    lock.release()
    yield lock
    lock.close()


@pytest.fixture
def ours(tmp_path: Path) -> Iterator[FileLock]:
    with opened(tmp_path / "lock") as lock:
        yield lock


@pytest.fixture
def theirs(tmp_path: Path) -> Iterator[FileLock]:
    """The same lock as another process has it."""
    with opened(tmp_path / "lock") as lock:
        yield lock


def flags(lock: FileLock, *until: float) -> tuple[float, ...]:
    """What the flags of a lock file are, after they were set to `until`."""
    with lock.path.open("r+b") as file:
        if until:
            file.write(struct.pack("=2d", *until))
            file.flush()
        file.seek(0)
        found: tuple[float, ...] = struct.unpack("=2d", file.read())
        return found


class TestAlone:
    def test_threads(self, ours: FileLock) -> None:
        """It keeps out the other threads of the process."""
        assert ours.acquire_alone()
        assert not ours.acquire_alone()
        assert not ours.acquire(0.01)
        ours.release()
        assert ours.acquire_alone()
        ours.release()

    def test_not_opened(self, tmp_path: Path) -> None:
        """Who has not seen the flags waits for the lock file."""
        assert not FileLock(tmp_path / "lock").acquire_alone()

    def test_somebody_waits(self, ours: FileLock, theirs: FileLock) -> None:
        """Once somebody waits all others do."""
        assert ours.acquire_alone()
        assert theirs.acquire_alone()
        assert theirs.wait(SECONDS)
        ours.release()
        assert not ours.acquire_alone()
        assert not ours.acquire(0.01)
        theirs.release()
        assert ours.acquire(SECONDS)
        ours.release()

    def test_waiter_for_the_file(self, ours: FileLock, theirs: FileLock) -> None:
        """Who waits for the lock file says so."""
        assert ours.acquire(SECONDS)
        assert not theirs.acquire(0.01)
        ours.release()
        assert not theirs.acquire_alone()

    def test_refused(self, ours: FileLock, theirs: FileLock) -> None:
        """Who has waited in vain holds nothing."""
        assert theirs.acquire(SECONDS)
        assert ours.acquire_alone()
        assert not ours.wait(0.01)
        theirs.release()
        assert ours.acquire(SECONDS)
        ours.release()

    @pytest.mark.parametrize("until", [1.0, 1e15], ids=["ended", "of another boot"])
    def test_flag_of_the_dead(self, until: float, ours: FileLock) -> None:
        """Flags that nobody renews are cleared by the next one who holds the lock."""
        assert flags(ours, until, until) == (until, until)
        assert not ours.acquire_alone()
        assert ours.acquire(SECONDS)
        ours.release()
        assert flags(ours) == (0, 0)
        assert ours.acquire_alone()
        ours.release()

    def test_file_of_before(self, tmp_path: Path) -> None:
        """A lock file that has room for one flag is made longer."""
        path = tmp_path / "lock"
        path.write_bytes(struct.pack("=d", 1.0))
        with opened(path) as lock:
            assert flags(lock) == (0, 0)
            assert lock.acquire_alone()
            lock.release()


@contextmanager
def busy(state: State) -> Iterator[sqlite3.Connection]:
    """A program that has SQLite's lock, and knows nothing of the lock file."""
    path = state.store.describe()["location"]
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield other


@contextmanager
def state_in(directory: Path, seconds: float) -> Iterator[State]:
    settings = {"CACHE_TYPE": "filesystem", "CACHE_DIR": str(directory)}
    with closing(State.from_settings(settings | {"CACHE_TIMEOUT": str(seconds)})) as state:
        yield state


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    with state_in(tmp_path, SECONDS) as state:
        state.set("n", 0)
        yield state


class TestSQLite:
    @pytest.mark.parametrize("write", ["inc", "set"])
    def test_waits(self, write: str, state: State, monkeypatch: pytest.MonkeyPatch) -> None:
        """A write waits for another program's transaction, and is then done once."""
        announce = FileLock.announce
        with busy(state) as other:

            def seen(lock: FileLock) -> None:
                announce(lock)
                tries.append(lock)
                if len(tries) == 3:
                    other.execute("COMMIT")

            tries: list[FileLock] = []
            monkeypatch.setattr(FileLock, "announce", seen)
            if write == "inc":
                assert state.inc("n") == 1
            else:
                state.set("n", 1)
        assert len(tries) == 3
        assert state.get("n") == 1

    @pytest.mark.parametrize("write", ["inc", "set"])
    def test_in_vain(self, write: str, state: State, tmp_path: Path) -> None:
        """A write that waited for too long is an error, was not done, and leaves nothing locked."""
        with state_in(tmp_path, 0.1) as impatient:
            impatient.set("n", 0)
            with busy(state), pytest.raises(StoreUnavailable, match="busy"):
                impatient.inc("n") if write == "inc" else impatient.set("n", 1)
            assert impatient.get("n") == 0
            assert impatient.inc("n") == 1

    def test_threads(self, state: State) -> None:
        """Threads of a process that waits for another program lose nothing, and repeat nothing."""
        numbers: list[int] = []
        with busy(state) as other:
            threads = [
                threading.Thread(target=lambda: numbers.append(state.inc("n"))) for _ in range(4)
            ]
            for thread in threads:
                thread.start()
            other.execute("COMMIT")
            for thread in threads:
                thread.join(SECONDS)
        assert sorted(numbers) == [1, 2, 3, 4]
