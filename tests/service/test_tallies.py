"""The numbers that all processes of a server add to."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from service.tallies import Tallies, temporary_directory

ROOT = Path(__file__).parents[2]


def test_threads_lose_no_addition() -> None:
    """What many threads add to one row of numbers at once is all there."""
    tallies = Tallies()
    place = tallies.row("a", 2)

    def add() -> None:
        for _ in range(5000):
            tallies.add(tallies.row("a", 2))
            tallies.add_both(place, 1, place + 1, 0.5)

    with ThreadPoolExecutor(8) as pool:
        for done in [pool.submit(add) for _ in range(8)]:
            done.result()
    assert tallies.totals() == {"a": [80_000, 20_000]}


WORKER = """
import sys
from pathlib import Path
from service.tallies import Tallies
tallies = Tallies(Path(sys.argv[1]))
tallies.add(tallies.row(sys.argv[2]), float(sys.argv[3]))
print("done", flush=True)
sys.stdin.read()
"""


def test_processes_add_up_the_dead_ones_too(tmp_path: Path) -> None:
    """Every process sees what all have counted, whatever rows each has, and after ``kill -9``."""
    workers = []
    for name, amount in [("a", "1"), ("a", "2"), ("b", "4")]:
        command = [sys.executable, "-c", WORKER, str(tmp_path), name, amount]
        workers.append(
            subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        )
    for worker in workers:
        assert worker.stdout and worker.stdout.readline() == b"done\n"
    workers[0].kill()
    ours = Tallies(tmp_path)
    ours.add(ours.row("b"), 8)
    assert ours.totals() == {"a": [3], "b": [12]}
    for worker in workers:
        worker.communicate()
    assert Tallies(tmp_path).totals() == {"a": [3], "b": [12]}


def test_a_process_goes_on_in_the_file_of_a_dead_one(tmp_path: Path) -> None:
    """Workers that die and are started again leave no more files than run at one time."""
    for number in range(1, 4):
        command = [sys.executable, "-c", WORKER, str(tmp_path), f"row {number}", "1"]
        with subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as worker:
            assert worker.stdout and worker.stdout.readline() == b"done\n"
            worker.kill()
    assert len(list(tmp_path.iterdir())) == 1
    ours = Tallies(tmp_path / "forks")
    rows = ours.row("a", 2), ours.row("b")
    dead = Tallies(tmp_path / "forks")
    dead.add(dead.row("other rows", 5), 7)
    del dead
    for _ in range(3):
        child = os.fork()
        if not child:
            ours.add(rows[1])
            ours.add(ours.row("another"))
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
    assert ours.totals() == {
        "a": [0, 0],
        "b": [3],
        "another": [3],
        "other rows": [7, 0, 0, 0, 0],
    }
    assert len(list((tmp_path / "forks").iterdir())) == 3
    everything = Tallies(tmp_path)
    assert everything.totals() == {f"row {number}": [1] for number in range(1, 4)}


def test_what_a_killed_process_had_half_written_counts_nothing(tmp_path: Path) -> None:
    """A name without its header is no row, and no later row begins with its bytes as numbers."""
    dead = Tallies(tmp_path)
    dead.add(dead.row("a"))
    dead._map[dead._end + 8 : dead._end + 48] = b"x" * 40
    del dead
    after = Tallies(tmp_path)
    after.row("b", 2)
    assert after.totals() == {"a": [1], "b": [0, 0]}
    assert len(list(tmp_path.iterdir())) == 1


def test_a_forked_child_without_the_directory_counts_alone(tmp_path: Path) -> None:
    """A directory that is gone keeps no child from its work, nor from counting."""
    tallies = Tallies(tmp_path / "gone")
    place = tallies.row("a")
    shutil.rmtree(tmp_path / "gone")
    child = os.fork()
    if not child:
        tallies.add(place)
        os._exit(0 if tallies.totals() == {"a": [1]} else 1)
    assert os.waitpid(child, 0)[1] == 0


@pytest.mark.parametrize("shared", [True, False])
def test_a_forked_child_counts_for_itself(tmp_path: Path, shared: bool) -> None:
    """After a fork both add in the same places, and nothing counts twice."""
    tallies = Tallies(tmp_path if shared else None)
    first, second = tallies.row("a", 3), tallies.row("b")
    tallies.add(first + 2, 5)
    child = os.fork()
    if not child:
        tallies.add(first + 2)
        tallies.add(second)
        right = {"a": [0, 0, 6], "b": [1]} if shared else {"a": [0, 0, 1], "b": [1]}
        os._exit(0 if tallies.totals() == right else 1)
    assert os.waitpid(child, 0)[1] == 0
    right = {"a": [0, 0, 6], "b": [1]} if shared else {"a": [0, 0, 5], "b": [0]}
    assert tallies.totals() == right


def test_a_file_that_was_just_begun_counts_nothing(tmp_path: Path) -> None:
    """A process that is about to begin its file disturbs nobody."""
    tallies = Tallies(tmp_path)
    tallies.add(tallies.row("a"))
    (tmp_path / "1-new.tally").touch()
    (tmp_path / "note.txt").write_text("not a tally")
    assert tallies.totals() == {"a": [1]}


def test_names_without_end_are_refused(tmp_path: Path) -> None:
    """A file that is full raises, and what it holds stays right."""
    tallies = Tallies(tmp_path)
    tallies.add(tallies.row("a"))
    with pytest.raises(RuntimeError, match="fit into"):
        for number in range(10_000):
            tallies.row(f"{number}", 100)
    assert tallies.totals()["a"] == [1]


def test_a_temporary_directory_is_gone_at_the_end() -> None:
    """It is there for the time of the block, private, and locked as tmpfiles.d(5) has it."""
    with temporary_directory() as directory:
        other = os.open(directory, os.O_RDONLY)
        with pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.close(other)
        Tallies(directory)
        assert directory.stat().st_mode & 0o077 == 0
    assert not directory.exists()
