"""A manager is one process, started once, that outlives all who use it."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
import textwrap
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import crowd
import pytest
from manager_states import opened, state_in
from managers import SECONDS, end, process_of, serves

from race.judging.checkers import exactly_one_to
from sharedstate import ConfigurationError, State, StoreFull
from sharedstate.stores.manager.local import Local, _python, beside, claimed
from sharedstate.stores.manager.store import FILE_NAME

ROOT = Path(__file__).parents[3]


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


class TestStarting:
    def test_started_when_used(self, path: Path) -> None:
        """Opening starts nothing; the first operation does."""
        with opened(path.parent) as state:
            assert list(path.parent.iterdir()) == []
            assert state.inc("n") == 1
            assert serves(path)

    @pytest.mark.slow
    def test_outlives_its_starter(self, path: Path) -> None:
        """The process that started it ends, and the next one finds the state."""
        assert crowd.in_child(_count_once, path.parent) == 1
        assert crowd.in_child(_count_once, path.parent) == 2
        assert serves(path)

    @pytest.mark.slow
    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
    def test_survives_its_starters_group(self, path: Path, number: signal.Signals) -> None:
        """A Ctrl-C, or `kill -9` of all the processes of an application, loses nothing."""
        code = f"""
        import time
        from sharedstate import State
        state = State.from_settings({{
            "CACHE_TYPE": "manager", "CACHE_DIR": {str(path.parent)!r}, "CACHE_TIMEOUT": {SECONDS}
        }})
        while True:
            print(state.inc("n"), flush=True)
        """
        with subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(code)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            text=True,
        ) as process:
            assert process.stdout is not None
            printed = [process.stdout.readline() for _ in range(100)]
            os.killpg(process.pid, number)
            printed += process.stdout.readlines()
        with opened(path.parent) as state:
            # One more may have been counted that it did not come to print.
            assert state.inc("n") - int(printed[-1]) in (1, 2)

    def test_on_its_own(self, path: Path) -> None:
        """It has a session and a directory of its own, no parent of ours, and no file of ours."""
        with socket.create_server(("127.0.0.1", 0)) as listener, opened(path.parent) as state:
            listener.set_inheritable(True)
            state.inc("n")
            process = process_of(path)
            assert os.getsid(process) not in (os.getsid(0), process)
            proc = Path("/proc", str(process))
            if not proc.exists():
                return
            assert os.readlink(proc / "cwd") == "/"
            assert (
                int(proc.joinpath("stat").read_text().rpartition(")")[2].split()[1]) != os.getpid()
            )
            open_files = {os.readlink(link) for link in proc.joinpath("fd").iterdir()}
            assert f"socket:[{os.fstat(listener.fileno()).st_ino}]" not in open_files
            assert str(path.parent) not in open_files

    def test_private(self, tmp_path: Path) -> None:
        """Its directory, socket and authkey are for this user alone, whatever the umask is."""
        path = tmp_path / "new" / FILE_NAME
        before = os.umask(0)
        try:
            with opened(path.parent) as state:
                state.inc("n")
        finally:
            os.umask(before)
        assert mode(path.parent) == 0o700
        for ending in ("key", "pid", "log"):
            assert mode(beside(path, ending)) == 0o600
        assert mode(path) == 0o600
        assert len(beside(path, "key").read_bytes()) == 32
        end(path)

    @pytest.mark.slow
    def test_one_winner(self, path: Path) -> None:
        """Many that need it at once start one, and count on it together."""
        outcome = crowd.run("separate", partial(state_in, path.parent), _count, 8, _look)
        assert exactly_one_to([call.result for call in outcome.answers], 8 * 5)
        assert outcome.found == 8 * 5
        assert beside(path, "log").read_text() == ""

    @pytest.mark.slow
    def test_one_winner_among_threads(self, path: Path) -> None:
        """So do the threads of a process."""
        outcome = crowd.run("threads", partial(state_in, path.parent), _count, 16, _look)
        assert exactly_one_to([call.result for call in outcome.answers], 16 * 5)

    @pytest.mark.slow
    def test_greenlets_start_it(self, path: Path) -> None:
        """So do the greenlets of one."""
        outcome = crowd.run("greenlets", partial(state_in, path.parent), _count, 50, _look)
        assert exactly_one_to([call.result for call in outcome.answers], 50 * 5)

    def test_stale_socket(self, path: Path) -> None:
        """The socket that one which was killed has left is replaced."""
        with opened(path.parent) as state:
            state.inc("n")
        key = beside(path, "key").read_bytes()
        end(path)
        assert path.is_socket()
        with opened(path.parent) as state:
            assert state.inc("n") == 1
        assert beside(path, "key").read_bytes() != key

    def test_copied_claim(self, path: Path) -> None:
        """A child that was forked while its parent started one keeps nobody from starting one."""
        endpoint, claim = Local(path, 1 << 20), claimed(path)
        assert claim is not None and claimed(path) is None
        endpoint._claims[claim] = os.getppid()
        endpoint.connect(SECONDS).close()

    def test_url(self, tmp_path: Path) -> None:
        """A URL may name the socket."""
        path = tmp_path / "a b"
        url = f"manager://{tmp_path}/a%20b"
        with closing(State.from_settings({"CACHE_URL": url})) as state:
            assert state.store.describe()["location"] == str(path)
            assert state.inc("n") == 1
        end(path)

    def test_in_a_public_directory(self, tmp_path: Path) -> None:
        """In a directory that others can write to, it is in a private one below."""
        tmp_path.chmod(0o1777)
        with opened(tmp_path) as state:
            state.inc("n")
            path = Path(state.store.describe()["location"])
            assert path.parent.parent == tmp_path and mode(path.parent) == 0o700
        end(path)

    def test_long_path(self, tmp_path: Path) -> None:
        """A path that no socket can have is an error that says so."""
        with pytest.raises(ConfigurationError, match="shorter"):
            state_in(tmp_path / ("x" * 100)).inc("n")

    def test_room(self, path: Path) -> None:
        """`CACHE_MAX_BYTES` bounds what the manager holds."""
        with opened(path.parent, CACHE_MAX_BYTES=5000) as state:
            state.set("a", "x" * 1000)
            with pytest.raises(StoreFull):
                state.set("b", "x" * 5000)
            assert state.get("a") == "x" * 1000

    def test_another_program(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Where the program that runs is not Python, as under uWSGI, Python is found."""
        monkeypatch.setattr(sys, "executable", "/usr/bin/uwsgi")
        run = [_python(), "-I", "-S", "-c", "import sys; print(sys.version)"]
        assert subprocess.check_output(run, text=True).strip() == sys.version

    @pytest.mark.slow
    def test_quiet_end(self, path: Path) -> None:
        """A process that started and used it ends without a warning."""
        code = f"""
        from sharedstate import State
        state = State.from_settings({{
            "CACHE_TYPE": "manager", "CACHE_DIR": {str(path.parent)!r}, "CACHE_TIMEOUT": {SECONDS}
        }})
        print(state.inc("n"))
        """
        command = [sys.executable, "-X", "dev", "-W", "error::ResourceWarning", "-c"]
        done = subprocess.run(
            [*command, textwrap.dedent(code)], cwd=ROOT, capture_output=True, text=True
        )
        assert (done.stdout, done.stderr) == ("1\n", "")


def _count_once(directory: Path) -> int:
    with opened(directory) as state:
        return state.inc("n")


def _count(state: State, me: int) -> Any:
    for _ in range(5):
        yield partial(state.inc, "n")


def _look(state: State) -> Any:
    return state.get("n")


class TestDriver:
    @pytest.mark.slow
    def test_without_msgspec(self, tmp_path: Path) -> None:
        """Where msgspec is missing the error says what to install, and other stores work."""
        code = """
        import sys
        sys.modules["msgspec"] = None
        from sharedstate import ConfigurationError, State
        print(State.from_settings({"CACHE_TYPE": "simple"}).inc("n"))
        try:
            State.from_settings({"CACHE_TYPE": "manager", "CACHE_DIR": sys.argv[1]})
        except ConfigurationError as error:
            print(error)
        """
        command = [sys.executable, "-c", textwrap.dedent(code), str(tmp_path)]
        printed = subprocess.check_output(command, cwd=ROOT, text=True)
        assert printed.startswith("1\n") and "pip install 'sharedstate[manager]'" in printed
