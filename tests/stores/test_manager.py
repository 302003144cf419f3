"""What only the manager promises: one process, started once, that outlives all who use it."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import crowd
import pytest
from backends import innermost
from managers import SECONDS, end, foreground, process_of, serves, wait_for_end

from race.judging.checkers import exactly_one_to
from sharedstate import ConfigurationError, State, StoreFull, StoreUnavailable
from sharedstate.stores.guards.breaker import Breaker
from sharedstate.stores.manager import local
from sharedstate.stores.manager.client import Connection
from sharedstate.stores.manager.local import Local, _python, beside, claimed
from sharedstate.stores.manager.store import FILE_NAME, run_manager
from sharedstate.stores.manager.wire import NONCE_BYTES, PROTOCOL, framed
from sharedstate.stores.registry import open_store

ROOT = Path(__file__).parents[2]
ENDS = 3
AUTHKEY = "an authkey: p@ss/word"
QUOTED = "an%20authkey%3A%20p%40ss%2Fword"


@pytest.fixture(autouse=True)
def no_breaker(monkeypatch):
    """What the store itself says, each time; the breaker before it has tests of its own.

    A busy machine may take long to start a manager.
    """
    monkeypatch.setattr(local, "START_SECONDS", SECONDS)
    monkeypatch.setattr(Breaker, "_call", lambda self, keys, call, *arguments: call(*arguments))


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    """A socket whose manager, if a test has started one, is ended after it."""
    path = tmp_path / FILE_NAME
    yield path
    if serves(path):
        end(path)


def state_in(directory: Path, **settings: Any) -> State:
    settings = {"CACHE_DIR": directory, "CACHE_TIMEOUT": SECONDS} | settings
    return State.from_settings({"CACHE_TYPE": "manager"} | settings)


@contextmanager
def opened(directory: Path, **settings: Any) -> Iterator[State]:
    with closing(state_in(directory, **settings)) as state:
        yield state


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


class TestEnding:
    def test_killed(self, path: Path) -> None:
        """Its state is gone, and a client that had seen it is told before it counts anew."""
        with opened(path.parent) as state, opened(path.parent) as newcomer:
            assert state.inc("n", 5) == 5
            end(path)
            with pytest.raises(StoreUnavailable) as caught:
                state.inc("n")
            assert not caught.value.outcome_unknown  # It did not get there.
            with pytest.raises(StoreUnavailable, match="another one.*empty"):
                state.inc("n")
            assert state.inc("n") == 1
            assert newcomer.inc("n") == 2

    def test_killed_with_many_connections(self, path: Path) -> None:
        """No connection to the dead one is used a second time."""
        with opened(path.parent) as state:
            store = state.store._store  # type: ignore[attr-defined]
            store._idle += [store._connection() for _ in range(5)]
            state.inc("n")
            end(path)
            for _ in range(2):
                with pytest.raises(StoreUnavailable):
                    state.get("n")
            assert state.get("n") is None

    @pytest.mark.slow
    def test_told_after_a_fork(self, path: Path) -> None:
        """A child is told of what its parent had seen."""
        with opened(path.parent) as state:
            state.inc("n")
            state.close()
            end(path)
            kind, text = crowd.in_child(state.inc, "n")
            assert kind == "StoreUnavailable" and "another one" in text

    @pytest.mark.parametrize(("name", "unknown"), [("inc", True), ("clear", True), ("get", False)])
    def test_killed_before_it_replies(
        self, path: Path, name: str, unknown: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A write that was sent may have been made; a read has changed nothing."""
        with opened(path.parent) as state:
            state.inc("n")
            process, receive = process_of(path), Connection._receive
            assert process is not None

            def killed(connection: Connection, *arguments: Any) -> bytes:
                os.kill(process, signal.SIGKILL)
                return receive(connection, *arguments)

            os.kill(process, signal.SIGSTOP)
            monkeypatch.setattr(Connection, "_receive", killed)
            with pytest.raises(StoreUnavailable) as caught:
                getattr(state, name)(*() if name == "clear" else ("n",))
            assert caught.value.outcome_unknown is unknown
            wait_for_end(path)

    def test_stopped(self, path: Path) -> None:
        """One that hangs is an error in time, and no later request takes its late reply."""
        with opened(path.parent) as state:
            state.set_many({"a": "a", "b": "b", "n": 0})
            store = innermost(state.store)
            store.timeout = store._idle[0]._timeout = 0.2
            os.kill(process_of(path), signal.SIGSTOP)
            with pytest.raises(StoreUnavailable, match="0.2 seconds") as sent:
                state.inc("n")
            with pytest.raises(StoreUnavailable, match="0.2 seconds") as unsent:
                state.inc("n")  # On a new connection, which is not even greeted.
            assert (sent.value.outcome_unknown, unsent.value.outcome_unknown) == (True, False)
            os.kill(process_of(path), signal.SIGCONT)
            store.timeout = SECONDS
            assert state.get_many("a", "b", "n") == ["a", "b", 1]

    def test_deleted(self, path: Path) -> None:
        """One whose socket is deleted ends, so that there are never two that count."""
        with opened(path.parent) as state:
            state.inc("n")
            for file in path.parent.iterdir():
                file.rename(file.with_name(f"old-{file.name}"))
            wait_for_end(path.with_name(f"old-{path.name}"))
            with pytest.raises(StoreUnavailable):
                state.inc("n")

    def test_lost_authkey(self, path: Path) -> None:
        """Without the authkey's file nobody gets in, and no second one is started."""
        with opened(path.parent) as state:
            state.inc("n")
            state.close()
            beside(path, "key").unlink()
            with pytest.raises(StoreUnavailable, match=str(beside(path, "key"))):
                state.inc("n")

    @pytest.mark.slow
    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
    def test_ended_under_load(self, path: Path, number: signal.Signals) -> None:
        """Whenever it ends, those who use it get `StoreUnavailable`, and then go on with a new one.

        No number is given twice without that error between: each worker's numbers grow until it.
        """
        ended = threading.Event()
        results: list[list[int | None]] = [[] for _ in range(4)]

        def count(numbers: list[int | None]) -> None:
            with opened(path.parent) as state:
                while not ended.is_set():
                    try:
                        numbers.append(state.inc("n"))
                    except StoreUnavailable:
                        numbers.append(None)

        threads = [threading.Thread(target=count, args=(numbers,)) for numbers in results]
        for thread in threads:
            thread.start()

        def all_count() -> None:
            goals = [len(numbers) for numbers in results]
            for numbers, goal in zip(results, goals, strict=True):
                while sum(number is not None for number in numbers[goal:]) < 3:
                    time.sleep(0.01)

        all_count()
        for _ in range(ENDS):
            process = process_of(path)
            assert process is not None
            os.kill(process, number)
            while process_of(path) in (process, None):
                time.sleep(0.01)
            all_count()
        ended.set()
        for thread in threads:
            thread.join()
        assert beside(path, "log").read_text() == ""
        for numbers in results:
            assert numbers.count(None) >= ENDS
            for before, after in pairwise(numbers):
                assert before is None or after is None or after > before

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    def test_signals(self, path: Path, number: signal.Signals) -> None:
        """A signal ends it cleanly: its socket is gone, and its log empty."""
        with opened(path.parent) as state:
            state.inc("n")
            end(path, number)
            assert not path.exists()
            assert beside(path, "log").read_text() == beside(path, "pid").read_text() == ""


def _settle(use: Callable[[], object]) -> None:
    while True:
        try:
            use()
            return
        except StoreUnavailable:
            pass


class TestSupervised:
    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    def test_ends_cleanly(self, path: Path, number: signal.Signals) -> None:
        """In the foreground a signal ends it with 0, and its socket is gone."""
        with foreground(path) as process, opened(path.parent) as state:
            assert state.inc("n") == 1
            os.kill(process.pid, number)
            process.join(SECONDS)
            assert process.exitcode == 0
            assert not path.exists()

    def test_workers_leave_it_to_the_supervisor(self, path: Path) -> None:
        """Workers wait for the supervisor to start it again, and say how to go on without."""
        with opened(path.parent) as state:
            with foreground(path):
                assert state.inc("n") == 1
            for _ in range(3):
                with pytest.raises(StoreUnavailable):
                    state.inc("n")
            with pytest.raises(StoreUnavailable, match="supervisor.*remove") as caught:
                state.inc("n")
            assert not caught.value.outcome_unknown
            with foreground(path):
                with pytest.raises(StoreUnavailable, match="another one"):
                    state.inc("n")
                assert state.inc("n") == 1
            beside(path, "pid").unlink()
            _settle(lambda: state.inc("n"))

    @pytest.mark.slow
    def test_only_one(self, path: Path) -> None:
        """Where one serves, another is refused, with the number of the one that does."""
        with opened(path.parent) as state:
            state.inc("n")
            with pytest.raises(ConfigurationError, match=f"process {process_of(path)}"):
                run_manager({"CACHE_TYPE": "manager", "CACHE_DIR": path.parent})
            assert state.inc("n") == 2


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """The port of a manager on the network."""
    with socket.socket() as holder:
        # Bound and never listening, it keeps the port from others; a server may bind beside it.
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", 0))
        port: int = holder.getsockname()[1]
        with foreground(("127.0.0.1", port), AUTHKEY.encode()):
            yield port


class TestNetwork:
    def test_counts(self, port: int) -> None:
        """An address and an authkey lead to it, from any host, and are not shown."""
        for settings in (
            {"CACHE_URL": f"manager://:{QUOTED}@127.0.0.1:{port}"},
            {"CACHE_URL": f"manager://localhost:{port}", "CACHE_MANAGER_AUTHKEY": AUTHKEY},
        ):
            with closing(State.from_settings(settings)) as state:
                before = state.inc("n")
                assert state.inc("n") == before + 1
                assert state.store.scope == "network"
                described = state.store.describe()
                assert str(port) in described["location"] and "authkey" not in str(described)

    def test_wrong_authkey(self, port: int) -> None:
        """A wrong authkey is refused, and nothing has happened."""
        url = f"manager://:wrong@127.0.0.1:{port}"
        with closing(State.from_settings({"CACHE_URL": url})) as state:
            with pytest.raises(StoreUnavailable, match="authkey") as caught:
                state.inc("n")
            assert not caught.value.outcome_unknown
            assert "wrong@" not in str(caught.value)

    def test_never_started(self) -> None:
        """Where nobody listens, nothing is started."""
        with socket.socket() as holder:
            holder.bind(("127.0.0.1", 0))
            url = f"manager://:secret@127.0.0.1:{holder.getsockname()[1]}"
            store = open_store({"CACHE_URL": url})
            with pytest.raises(StoreUnavailable, match="not running") as caught:
                store.ping()
            assert "secret" not in str(caught.value)

    def test_silent_server(self) -> None:
        """A server that accepts and says nothing, or little by little, is an error in time."""
        with socket.create_server(("127.0.0.1", 0)) as listener:
            url = f"manager://:secret@127.0.0.1:{listener.getsockname()[1]}"
            store = open_store({"CACHE_URL": url, "CACHE_TIMEOUT": 0.2})
            with pytest.raises(StoreUnavailable, match="0.2 seconds"):
                store.ping()

    def test_impostor(self) -> None:
        """A server that does not know the authkey is not believed."""
        with socket.create_server(("127.0.0.1", 0)) as listener:

            def pretend() -> None:
                connection, _ = listener.accept()
                with connection:
                    connection.sendall(framed(PROTOCOL + bytes(NONCE_BYTES)))
                    connection.recv(100)
                    connection.sendall(framed(bytes(16 + 32)))
                    connection.recv(100)

            thread = threading.Thread(target=pretend)
            thread.start()
            store = open_store({"CACHE_URL": f"manager://:k@127.0.0.1:{listener.getsockname()[1]}"})
            with pytest.raises(StoreUnavailable, match="does not know the authkey"):
                store.ping()
            thread.join()

    def test_another_version(self) -> None:
        """A manager of another version is not asked for anything."""
        with socket.create_server(("127.0.0.1", 0)) as listener:

            def greet() -> None:
                connection, _ = listener.accept()
                with connection:
                    connection.sendall(framed(b"sharedstate manager 9" + bytes(NONCE_BYTES)))
                    assert connection.recv(100) == b""

            thread = threading.Thread(target=greet)
            thread.start()
            store = open_store({"CACHE_URL": f"manager://:k@127.0.0.1:{listener.getsockname()[1]}"})
            with pytest.raises(StoreUnavailable, match="not a manager of this version"):
                store.ping()
            thread.join()

    def test_something_else(self, redis_url: str) -> None:
        """A server of another kind is an error."""
        address = redis_url.partition("://")[2]
        store = open_store({"CACHE_URL": f"manager://:k@{address}", "CACHE_TIMEOUT": 0.2})
        with pytest.raises(StoreUnavailable):
            store.ping()

    @pytest.mark.parametrize(
        ("url", "reason"),
        [
            ("manager://localhost:7000", "CACHE_MANAGER_AUTHKEY"),
            ("manager://:key@localhost", "host:port"),
            ("manager://key@localhost:7000", "host:port"),
            ("manager://:key@:7000", "host:port"),
            ("manager://:key@localhost:70000", "CACHE_URL"),
            ("manager://:key@localhost:7000/path", "host:port"),
            ("manager:", "CACHE_DIR"),
        ],
    )
    def test_wrong_url(self, url: str, reason: str) -> None:
        """A URL that leads to no manager is an error that says what is missing."""
        with pytest.raises(ConfigurationError, match=reason) as caught:
            open_store({"CACHE_URL": url})
        assert "key@" not in str(caught.value).replace(":authkey@", "")

    def test_port_in_use(self, port: int) -> None:
        """Where something listens, no manager can."""
        with pytest.raises(ConfigurationError, match=str(port)):
            run_manager({"CACHE_URL": f"manager://:key@127.0.0.1:{port}"})
