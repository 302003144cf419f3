"""`kill -9` at any moment loses and repeats nothing that was acknowledged, and holds nobody up."""

from __future__ import annotations

import multiprocessing
import os
import random
import selectors
import signal
import sqlite3
import struct
import time
from bisect import bisect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import pytest
from backends import BACKENDS

from sharedstate import State, StoreFull

pytestmark = pytest.mark.slow

EMBEDDED = [pytest.param(b, id=b.name) for b in BACKENDS if b.name in ("filesystem", "lmdb")]

WRITERS = 4
KILLS = 30
SECONDS = 60  # Guards against a hang, and nothing else.

Settings = dict[str, str]
Process = Any

# A number, and when its writer had it.
_RECORD = struct.Struct("=qd")

_fork: Any = multiprocessing.get_context("fork")


class Writer:
    """A process that increments one counter and acknowledges each number through a pipe."""

    def __init__(self, settings: Settings) -> None:
        self.pipe, theirs = os.pipe()
        self.acknowledged: list[tuple[int, float]] = []
        self._process = _fork.Process(target=_write, args=(settings, theirs), daemon=True)
        self._process.start()
        os.close(theirs)

    def read(self) -> int:
        """Take note of what has come; returns how many, 0 when the process is gone."""
        # A record is less than a pipe writes at once, so none is cut in two.
        records = list(_RECORD.iter_unpack(os.read(self.pipe, 512 * _RECORD.size)))
        self.acknowledged += records
        return len(records)

    def end(self, number: signal.Signals) -> int:
        """Send the signal, read to the end, and return how the process ended."""
        os.kill(self._process.pid, number)
        while self.read():
            pass
        os.close(self.pipe)
        self._process.join(SECONDS)
        return self._process.exitcode


def _write(settings: Settings, pipe: int) -> None:
    stopped = []
    signal.signal(signal.SIGTERM, lambda *_: stopped.append(True))
    state = State.from_settings(settings)
    while not stopped:
        number = state.inc("n")
        os.write(pipe, _RECORD.pack(number, time.monotonic()))


class Crew:
    """Some writers, who are replaced when they are killed."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._selector = selectors.DefaultSelector()
        self.present: list[Writer] = []
        self.gone: list[Writer] = []
        self.killed_at: list[float] = []
        for _ in range(WRITERS):
            self._hire()

    def _hire(self) -> None:
        writer = Writer(self._settings)
        self._selector.register(writer.pipe, selectors.EVENT_READ, writer)
        self.present.append(writer)

    def read(self, at_least: int) -> None:
        """Wait until the writers have acknowledged some more numbers."""
        while at_least > 0:
            ready = self._selector.select(SECONDS)
            assert ready, "nobody goes on"
            for key, _ in ready:
                came = key.data.read()
                assert came, "a writer ended by itself: see its standard error"
                at_least -= came

    def kill(self, dice: random.Random) -> None:
        writer = dice.choice(self.present)
        self.killed_at.append(time.monotonic())
        assert self._end(writer, signal.SIGKILL) == -signal.SIGKILL
        self._hire()

    def stop(self) -> None:
        for writer in list(self.present):
            has_begun = writer.acknowledged
            assert self._end(writer, signal.SIGTERM) == 0 or not has_begun
        self._selector.close()

    def _end(self, writer: Writer, number: signal.Signals) -> int:
        self._selector.unregister(writer.pipe)
        self.present.remove(writer)
        self.gone.append(writer)
        return writer.end(number)

    def acknowledged(self) -> list[int]:
        return [number for writer in self.gone for number, _ in writer.acknowledged]

    def pauses(self) -> dict[str, float]:
        """Milliseconds without a number around the kills: for all survivors, and for one of them.

        Of one of them the processors have their share, as there are more writers than of those.
        """
        times = [[time for _, time in writer.acknowledged] for writer in self.gone]
        everybody = sorted(time for each in times for time in each)
        of_all = [_gap_at(moment, everybody) for moment in self.killed_at]
        of_one = [max(_gap_at(moment, each) for each in times) for moment in self.killed_at]
        return {
            "all, longest": max(of_all) * 1000,
            "all, median": median(of_all) * 1000,
            "one, longest": max(of_one) * 1000,
            "one, median": median(of_one) * 1000,
        }


def _gap_at(moment: float, times: list[float]) -> float:
    """From the last of the times before a moment to the first one after it; 0 if either lacks."""
    after = bisect(times, moment)
    return times[after] - times[after - 1] if 0 < after < len(times) else 0.0


@pytest.mark.parametrize("backend", EMBEDDED)
def test_writers_killed(
    cache_settings: Settings, record_property: Callable[[str, object], None]
) -> None:
    """No acknowledged number is lost or repeated, and a kill leaves out at most one."""
    dice = random.Random(1)
    crew = Crew(cache_settings)
    crew.read(1000)
    for _ in range(KILLS):
        # At times before the new one has even begun.
        crew.read(dice.choice([1, 20, 200, 1000]))
        crew.kill(dice)
    crew.read(1000)
    crew.stop()

    numbers = crew.acknowledged()
    with opened(cache_settings) as state:
        total = state.get("n")
        assert len(set(numbers)) == len(numbers)
        assert max(numbers) <= total <= len(numbers) + KILLS
        assert state.inc("n") == total + 1
        _check_integrity(state)

    pauses = {name: round(pause, 1) for name, pause in crew.pauses().items()}
    record_property("pauses in ms", pauses)
    print(f"{len(numbers)} numbers, {KILLS} kills, pauses in ms: {pauses}")


def _check_integrity(state: State) -> None:
    location = Path(state.store.describe()["location"])
    if location.is_file():
        connection = sqlite3.connect(location)
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        connection.close()


@contextmanager
def opened(settings: Settings) -> Iterator[State]:
    state = State.from_settings(settings)
    yield state
    state.close()


@contextmanager
def stuck(work: Callable[[State, Callable[[], None]], None], settings: Settings) -> Iterator[int]:
    """A process that stays in the middle of `work`, where it calls what it is given."""
    ours, theirs = _fork.Pipe()

    def stay() -> None:
        theirs.send("in the middle")
        theirs.recv()

    def main() -> None:
        work(State.from_settings(settings), stay)

    process = _fork.Process(target=main, daemon=True)
    process.start()
    theirs.close()
    try:
        assert ours.poll(SECONDS)
        assert ours.recv() == "in the middle"
        yield process.pid
    finally:
        process.kill()
        process.join()
        ours.close()


def kill(pid: int) -> None:
    """Returns when it is dead, and leaves it to its parent to collect."""
    os.kill(pid, signal.SIGKILL)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)


class _Slow:
    """An operation that takes its time in the middle of a write."""

    def __init__(self, stay: Callable[[], None]) -> None:
        self._stay = stay

    def __call__(self, records: Any, now: float) -> Any:
        self._stay()
        return ((b"half", float("inf")),), None


def _write_slowly(state: State, stay: Callable[[], None]) -> None:
    state.inc("n")
    state.store.transact((state.keyspace.key("n"),), _Slow(stay))


@pytest.mark.parametrize("backend", EMBEDDED)
def test_killed_in_its_write(cache_settings: Settings) -> None:
    """A writer that is killed inside its transaction leaves the turn, and nothing of its write."""
    with stuck(_write_slowly, cache_settings) as pid:
        kill(pid)
        with opened(cache_settings) as state:
            assert state.inc("n") == 2


def _read_slowly(state: State, stay: Callable[[], None]) -> None:
    """Stays in a snapshot that it has read from."""
    state.get("n")
    if state.store.name == "lmdb":
        environment = state.store._opened.value  # type: ignore[attr-defined]
        with environment.env.begin() as transaction:
            transaction.get(b"n")
            stay()
    else:
        connection = sqlite3.connect(state.store.describe()["location"], isolation_level=None)
        connection.execute("BEGIN")
        connection.execute("SELECT * FROM entries").fetchall()
        stay()


@pytest.mark.parametrize("backend", [b for b in EMBEDDED if "lmdb" in b.id])
def test_lmdb_reader_killed(cache_settings: Settings) -> None:
    """The pages that a dead reader kept are used again, and a living one's are not."""
    settings = cache_settings | {"CACHE_MAX_BYTES": str(1 << 20)}
    with opened(settings) as state:
        state.set("n", 0)
        with stuck(_read_slowly, settings) as pid:
            with pytest.raises(StoreFull):
                for number in range(1, 100_000):
                    assert state.inc("n") == number
            assert state.get("n") == number - 1
            kill(pid)
            for more in range(number, number + 5000):
                assert state.inc("n") == more


@pytest.mark.parametrize("backend", [b for b in EMBEDDED if "filesystem" in b.id])
def test_filesystem_reader_killed(cache_settings: Settings, tmp_path: Path) -> None:
    """The log stays small although readers died while they used it."""
    with opened(cache_settings) as state:
        state.set("n", 0)
        for _ in range(5):
            with stuck(_read_slowly, cache_settings) as pid:
                state.inc("n", 1000)
                kill(pid)
        for _ in range(8_000):
            state.inc("n")
        assert state.get("n") == 13_000
        [log] = tmp_path.glob("*-wal")
        # A checkpoint comes after 4000 pages of 1 KiB, with what the last commit added.
        assert log.stat().st_size < 5 << 20
