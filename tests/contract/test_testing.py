"""What the library brings for the tests of applications."""

import os
import subprocess
import sys
import threading
import time
import tomllib
from pathlib import Path

import pytest
from flask import Flask, current_app

from sharedstate import State
from sharedstate.stores.memory import MemoryStore
from sharedstate.testing import MemoryCache, assert_every_number_once, race

ROOT = Path(__file__).parents[2]


class TestRace:
    def test_all_at_once(self):
        """All callers are there when the first one begins, and may be inside at the same time."""
        before = threading.active_count()
        assert max(race(20, threading.active_count)) >= before + 20
        gate = threading.Barrier(20)
        assert sorted(race(20, lambda: gate.wait(30))) == list(range(20))

    def test_get_then_set_is_caught(self):
        """Callers that read before others have written get numbers twice."""
        state, gate = State(MemoryStore()), threading.Barrier(10)

        def get_then_set():
            number = state.get("n", 0) + 1
            gate.wait(30)
            state.set("n", number)
            return number

        with pytest.raises(AssertionError, match=r"1 to 10, \[1\] were given .* and \[2, 3, 4, 5,"):
            assert_every_number_once(race(10, get_then_set))
        assert_every_number_once(race(10, lambda: state.inc("exact")))

    def test_fast_switches_end(self):
        """Threads change fast only while the race goes on."""
        before = sys.getswitchinterval()
        assert race(1, sys.getswitchinterval) != [before]
        assert sys.getswitchinterval() == before

    def test_contexts(self):
        """Threads and processes see the application of the test."""
        with Flask("of the test").app_context():
            for processes in (False, True):
                names = race(2, lambda: current_app.name, processes=processes)
                assert names == ["of the test"] * 2

    def test_processes(self):
        """Each caller is a process of its own, and ends with the race."""
        pids = race(3, os.getpid, processes=True)
        assert len({*pids, os.getpid()}) == 4

    def test_what_is_raised(self):
        """An error of a call is the race's, and a process's has its traceback."""
        with pytest.raises(ZeroDivisionError):
            race(3, lambda: 1 // 0)
        with pytest.raises(RuntimeError, match="ZeroDivisionError"):
            race(3, lambda: 1 // 0, processes=True)
        with pytest.raises(RuntimeError, match="died"):
            race(2, lambda: os._exit(1), processes=True)

    @pytest.mark.parametrize("processes", [False, True])
    def test_a_hang(self, processes):
        """A call that does not come to an end is an error."""
        ended = threading.Event()
        function = time.sleep if processes else ended.wait
        with pytest.raises(TimeoutError):
            race(2, lambda: function(60), processes=processes, timeout=0.1)
        ended.set()


class TestAssertEveryNumberOnce:
    @pytest.mark.parametrize("numbers", [[], [1], [3, 1, 2]])
    def test_exact(self, numbers):
        """Each number once is accepted, in any order."""
        assert_every_number_once(iter(numbers))

    @pytest.mark.parametrize("numbers", [[0], [1, 1], [2, 3], [1, 2, 4]])
    def test_not_exact(self, numbers):
        """A number given twice, or to nobody, is not."""
        with pytest.raises(AssertionError, match="not every number once"):
            assert_every_number_once(numbers)


class TestMemoryCache:
    def test_without_an_application(self):
        """It works at once, and each is apart from the others."""
        one, other = MemoryCache(), MemoryCache()
        assert (one.inc("n"), one.inc("n"), other.inc("n")) == (1, 2, 1)

    def test_time(self):
        """Time stands still until it is moved, for values, cached results and limits."""
        cache = MemoryCache()
        cache.set("a", 1, timeout=60)
        calls = iter(range(10))
        cached = cache.memoize(60)(lambda: next(calls))
        assert (cached(), cached(), bool(cache.limit("me", 1, per=60))) == (0, 0, True)
        cache.clock.advance(59.9)
        assert (cache.get("a"), cached(), bool(cache.limit("me", 1, per=60))) == (1, 0, False)
        cache.clock.advance(0.2)
        assert (cache.get("a"), cached(), bool(cache.limit("me", 1, per=60))) == (None, 1, True)

    def test_of_an_application(self):
        """An application's state is in memory, whatever its settings say."""
        cache, app = MemoryCache(), Flask(__name__)
        app.config["CACHE_URL"] = "redis://localhost:1"
        cache.set("a", 0)
        cache.init_app(app)
        assert cache.get("a") is None
        cache.set("a", 1, timeout=60)
        with app.app_context():
            assert (cache.get("a"), cache.state.store.name) == (1, "simple")
            cache.clock.advance(61)
            assert cache.get("a") is None


@pytest.mark.slow
def test_the_plugin(tmp_path):
    """Pytest finds the fixtures by the name in the package, and the example's own tests pass."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (plugin,) = project["entry-points"]["pytest11"].values()
    (tmp_path / "test_own.py").write_text(
        "def test_fresh(shared_cache): assert shared_cache.inc('n') == 1\n"
        "def test_again(shared_cache): assert shared_cache.inc('n') == 1\n"
        "def test_race(shared_cache, race):\n"
        "    assert sorted(race(5, lambda: shared_cache.inc('n'))) == [1, 2, 3, 4, 5]\n"
    )
    files = [str(ROOT / "examples/test_tickets.py"), str(tmp_path / "test_own.py")]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:sharedstate", "-p", plugin]
    done = subprocess.run([*command, *files], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and "6 passed" in done.stdout, done.stdout + done.stderr
