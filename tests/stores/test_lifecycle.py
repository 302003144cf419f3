"""A store's life: opened when it is used, through forks, bad files and full disks, to its end."""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from backends import BACKENDS, Backend, Clock, give_up
from crowd import in_child

from race.clients.rush import rush
from race.judging.checkers import exactly_one_to
from race.servers.serve import missing, serve
from sharedstate import ConfigurationError, SharedStateError, State, StoreFull, StoreUnavailable
from sharedstate.stores.base import Store
from sharedstate.stores.support import watch
from sharedstate.stores.support.file_lock import FileLock

TESTS = Path(__file__).parents[1]
SECONDS = 90  # Guards against a hang, and nothing else.

# Python warns of what these tests are about: a fork in a process with threads.
FORKED = "ignore::DeprecationWarning:__main__"

Settings = dict[str, str]


def of(*names: str) -> Any:
    """Run on these stores of the table."""
    chosen = [pytest.param(b, id=b.id) for b in BACKENDS if b.name in names]
    return pytest.mark.parametrize("backend", chosen)


def of_ids(*ids: str) -> Any:
    """Run on these lines of the table."""
    chosen = [pytest.param(b, id=b.id) for b in BACKENDS if b.id in ids]
    return pytest.mark.parametrize("backend", chosen)


embedded = of("filesystem", "lmdb")
# Other lines of the table are opened by the same module as one of these.
OPENED_ALIKE = ("redis-sentinel", "redis-cluster", "database-mariadb")
shared = pytest.mark.parametrize(
    "backend",
    [
        pytest.param(backend, id=backend.id)
        for backend in BACKENDS
        if backend.scope != "process" and backend.id not in OPENED_ALIKE
    ],
)


@pytest.fixture
def cache_settings(cache_settings: Settings, backend: Backend) -> Settings:
    # Who has to wait on a busy machine is not to give up.
    return {"CACHE_TIMEOUT": "30", **cache_settings, "CACHE_KEY_PREFIX": backend.prefix}


@contextmanager
def opened(settings: Settings, **more: Any) -> Iterator[State]:
    state = State.from_settings({**settings, **more})
    yield state
    state.close()


def run(code: str, settings: Settings, *options: str) -> subprocess.CompletedProcess[str]:
    """A new interpreter that runs the code, with `state` on these settings."""
    prelude = (
        "import json, os, sys, threading\n"
        "from sharedstate import State\n"
        "settings = json.loads(sys.argv[1])\n"
        "state = State.from_settings(settings)\n"
    )
    command = [sys.executable, "-X", "faulthandler", *options, "-c"]
    process = subprocess.Popen(
        [*command, prelude + textwrap.dedent(code), json.dumps(settings)],
        cwd=TESTS.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        out, err = process.communicate(timeout=SECONDS)
    except subprocess.TimeoutExpired:
        # With whatever it has forked, and each of them says where it was.
        os.killpg(process.pid, signal.SIGABRT)
        raise AssertionError("it hangs:\n" + "\n".join(process.communicate())) from None
    return subprocess.CompletedProcess(command, process.returncode, out, err)


def numbers_of(process: subprocess.CompletedProcess[str]) -> list[int]:
    assert (process.returncode, process.stderr) == (0, "")
    return [int(word) for word in process.stdout.split()]


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
        began, stopped = fork.Event(), fork.Event()
        writer = fork.Process(target=_grow, args=(cache_settings, began, stopped))
        writer.start()
        try:
            assert began.wait(SECONDS)
            for _ in range(100):
                with opened(cache_settings) as state:
                    assert state.get("0")
        finally:
            stopped.set()
            writer.join()
        assert writer.exitcode == 0


def _count_at(gate: threading.Barrier, state: State, numbers: list[int]) -> None:
    gate.wait(SECONDS)
    numbers.append(state.inc("n"))
    assert state.has("n")


def _grow(settings: Settings, began: Any, stopped: Any) -> None:
    with opened(settings) as state:
        for i in range(50_000):
            state.set(str(i), "x" * 3000)
            began.set()
            if stopped.is_set():
                return
    raise AssertionError("nobody stopped it")


class TestForks:
    @shared
    def test_used_before(self, cache_settings: Settings) -> None:
        """A process that has used the store, its child and its grandchild all count exactly."""
        with opened(cache_settings) as state:
            assert state.inc("n") == 1
            theirs = in_child(_count_with_a_child, state)
            ours = [state.inc("n") for _ in range(100)]
            assert exactly_one_to([1, *theirs, *ours], 301)
            assert state.get("n") == 301

    @of("simple")
    def test_in_memory(self, cache_settings: Settings) -> None:
        """A child goes on with a copy that is its own, also if others write at the moment."""
        code = """
        numbers, stopped = [state.inc("n")], threading.Event()

        def write():
            while not stopped.is_set():
                numbers.append(state.inc("n"))

        writer = threading.Thread(target=write)
        writer.start()
        for _ in range(20):
            pid = os.fork()
            if pid == 0:
                first = state.inc("n")
                os._exit(0 if state.inc("n") == first + 1 else 1)
            assert os.waitpid(pid, 0)[1] == 0
        stopped.set()
        writer.join()
        print(state.get("n") - len(numbers))
        """
        assert numbers_of(run(code, cache_settings, "-W", FORKED)) == [0]

    @shared
    @pytest.mark.slow
    def test_pool(self, cache_settings: Settings) -> None:
        """The children of a `multiprocessing` pool count exactly, with their parent beside them."""
        with opened(cache_settings) as state:
            state.inc("n")
            fork = multiprocessing.get_context("fork")
            with fork.Pool(4, initializer=_inherit, initargs=(state,)) as pool:
                theirs = pool.map_async(_inherited_inc, range(100))
                ours = [state.inc("n") for _ in range(30)]
                numbers = [1, *ours, *theirs.get(SECONDS)]
            assert exactly_one_to(numbers, 131)

    @shared
    @pytest.mark.slow
    def test_while_threads_write(self, cache_settings: Settings) -> None:
        """Threads that fork at the same time, in the middle of others' work, keep nobody from
        going on, and nobody miscounts."""
        code = """
        import traceback
        stopped = threading.Event()
        # A fork in the middle of an import, which first uses bring, is beyond any library.
        numbers = [state.inc("n")]
        reader, writer = os.pipe()

        def write():
            while not stopped.is_set():
                numbers.append(state.inc("n"))
                state.get("n")

        def fork():
            for _ in range(5):
                pid = os.fork()
                if pid == 0:
                    status = 1
                    try:
                        mine = [state.inc("n") for _ in range(3)]
                        assert state.get("n") >= mine[-1]
                        os.write(writer, "".join(f"{number} " for number in mine).encode())
                        status = 0
                    except BaseException:
                        traceback.print_exc()
                    os._exit(status)
                assert os.waitpid(pid, 0)[1] == 0

        crowd = [threading.Thread(target=write) for _ in range(2)]
        forks = [threading.Thread(target=fork) for _ in range(4)]
        for thread in crowd + forks:
            thread.start()
        for thread in forks:
            thread.join()
        stopped.set()
        for thread in crowd:
            thread.join()
        os.close(writer)
        with open(reader) as pipe:
            print(pipe.read(), *numbers)
        assert state.get("n") == len(numbers) + 4 * 5 * 3
        """
        numbers = numbers_of(run(code, cache_settings, "-W", FORKED))
        assert exactly_one_to(numbers, len(numbers))


def _inherit(state: State) -> None:
    global _inherited
    _inherited = state


def _inherited_inc(_: int) -> int:
    return _inherited.inc("n")


def _count_with_a_child(state: State) -> list[int]:
    mine = [state.inc("n") for _ in range(100)]
    return mine + in_child(_count, state)


def _count(state: State) -> list[int]:
    return [state.inc("n") for _ in range(100)]


@pytest.mark.slow
@pytest.mark.parametrize(
    "server, backend",
    [
        pytest.param(server, backend, id=f"{server}-{backend.id}")
        for server, name in (
            ("gunicorn-sync", "filesystem"),
            ("gunicorn-gevent", "lmdb"),
            ("gunicorn-gevent", "redis"),
        )
        for backend in BACKENDS
        if backend.id == name
    ],
)
def test_gunicorn(server: str, cache_settings: Settings) -> None:
    """Workers that are forked when the application has used its store count exactly."""
    if package := missing(server):
        give_up(f"{server} needs: pip install {package}")
    env = {f"FLASK_{name}": value for name, value in cache_settings.items()}
    env |= {"GUNICORN_CMD_ARGS": "--preload", "PYTHONPATH": str(TESTS.parent)}
    with serve(server, "counting:create_app()", env=env, cwd=TESTS / "apps") as running:
        bodies: list[dict[str, int]] = []
        deadline = time.monotonic() + SECONDS
        # On a busy machine one worker may have done all before the others have begun.
        while len({body["process"] for body in bodies}) < 2 and time.monotonic() < deadline:
            responses = rush(running.host, running.port, "POST", "/hits", clients=50, rounds=4)
            assert {response.status for response in responses} == {200}, running.log()
            bodies += [json.loads(response.body) for response in responses]
            if server != "gunicorn-sync":  # One of gevent's workers may accept all connections.
                break
        else:
            assert len({body["process"] for body in bodies}) > 1
        assert exactly_one_to([body["value"] for body in bodies], len(bodies))
        [counts] = rush(running.host, running.port, "GET", "/counts", clients=1, rounds=1)
    found = json.loads(counts.body)
    assert found["hits"] == len(bodies)
    assert found["starts"] == 1


class TestStoppedWriter:
    @of("filesystem")
    @pytest.mark.slow
    def test_others(self, cache_settings: Settings) -> None:
        """Beside one that is stopped in its turn writers give up in time and readers read on."""
        timeout = 0.2
        with opened(cache_settings, CACHE_TIMEOUT=timeout) as state:
            assert state.inc("n") == 1
            with stopped_in_its_turn(cache_settings) as pid:
                for _ in range(2):
                    began = time.monotonic()
                    with pytest.raises(StoreUnavailable, match="CACHE_TIMEOUT"):
                        state.inc("n")
                    assert time.monotonic() - began >= timeout
                    assert state.get("n") == 1
                    assert state.keys() == ["n"]
                with opened(cache_settings, CACHE_TIMEOUT=timeout) as another:
                    with pytest.raises(StoreUnavailable):
                        another.set("n", 0)
                os.kill(pid, signal.SIGCONT)
                # The stopped one was about to write, and does.
                assert os.waitpid(pid, 0)[1] == 0
            assert state.get("n") == 100
            assert state.inc("n") == 101

    @of("filesystem")
    @pytest.mark.slow
    def test_opened_beside_it(self, cache_settings: Settings) -> None:
        """A reader that opens the file while its writer is stopped reads all the same."""
        with opened(cache_settings) as state:
            assert state.inc("n") == 1
        with stopped_in_its_turn(cache_settings) as pid:
            with opened(cache_settings) as state:
                assert state.get("n") == 1
            os.kill(pid, signal.SIGCONT)
            os.waitpid(pid, 0)


@contextmanager
def stopped_in_its_turn(settings: Settings) -> Iterator[int]:
    """A process that is stopped in the middle of writing 100 to `n`."""
    pid = os.fork()
    if pid == 0:
        try:
            state = State.from_settings(settings)
            key = state.keyspace.key("n")
            state.store.transact((key,), _Stopping())  # type: ignore[arg-type]
            os._exit(0)
        finally:
            os._exit(1)
    assert os.WIFSTOPPED(os.waitpid(pid, os.WUNTRACED)[1])
    yield pid
    try:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    except (ProcessLookupError, ChildProcessError):
        pass  # It has gone on to its end.


class _Stopping:
    """An operation in the middle of which its process stops."""

    def __call__(self, records: Any, now: float) -> Any:
        os.kill(os.getpid(), signal.SIGSTOP)
        return ((b"100", float("inf")),), None


class TestDeletedDirectory:
    @embedded
    def test_noticed(self, cache_settings: Settings, tmp_path: Path) -> None:
        """A store whose directory is deleted says so, and then begins anew with all others."""
        settings = cache_settings | {"CACHE_DIR": str(tmp_path / "gone")}
        with opened(settings) as state:
            state.set("n", 1000)
            shutil.rmtree(tmp_path / "gone")
            with pytest.raises(StoreUnavailable, match="deleted"):
                for _ in forever():
                    state.inc("n")
            assert [state.inc("n"), state.inc("n")] == [1, 2]
            assert in_child(_inc_anew, settings) == 3
            assert state.get("n") == 3

    @embedded
    def test_noticed_by_readers(self, cache_settings: Settings, tmp_path: Path) -> None:
        """One that only reads does not go on for ever with what was deleted."""
        settings = cache_settings | {"CACHE_DIR": str(tmp_path / "gone")}
        with opened(settings) as state:
            state.set("n", 1000)
            assert state.get("n") == 1000
            shutil.rmtree(tmp_path / "gone")
            with pytest.raises(StoreUnavailable, match="deleted"):
                for _ in forever():
                    state.get("n")
            assert state.get("n") is None

    @of("filesystem")
    @pytest.mark.parametrize("how", ["deleted", "moved away", "file deleted", "file moved over"])
    @pytest.mark.parametrize("write", ["inc", "set"])
    @pytest.mark.parametrize("is_told", [True, False], ids=["told", "looks"])
    def test_noticed_at_once(
        self,
        is_told: bool,
        write: str,
        how: str,
        cache_settings: Settings,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """The very next write is refused, and those after it go to what is there now."""
        settings = cache_settings | {"CACHE_DIR": str(tmp_path / "state")}
        with opened(cache_settings | {"CACHE_DIR": str(tmp_path / "other")}) as other:
            other.inc("n", 41)
        if not is_told:  # As without inotify.
            monkeypatch.setattr(watch, "_queue_of", lambda path: None)
        with opened(settings) as state:
            state.inc("n", initial=1000)
            _do(how, tmp_path)
            with pytest.raises(StoreUnavailable, match="deleted or replaced.*restore"):
                state.inc("n") if write == "inc" else state.set("n", 1)
            assert state.inc("n") == (42 if how == "file moved over" else 1)

    @embedded
    def test_replaced(self, cache_settings: Settings, tmp_path: Path) -> None:
        """One that another process has made anew meanwhile is noticed, and shared from then on."""
        settings = cache_settings | {"CACHE_DIR": str(tmp_path / "gone")}
        with opened(settings) as state:
            state.set("n", 1000)
            shutil.rmtree(tmp_path / "gone")
            # By a new interpreter: a fork would close the file, and open it anew by itself.
            assert numbers_of(run("print(state.inc('n'))", settings)) == [1]
            with pytest.raises(StoreUnavailable, match="replaced"):
                for _ in forever():
                    state.inc("n")
            assert state.inc("n") == 2


def _do(how: str, below: Path) -> None:
    directory = below / "state"
    files = [directory / f"sharedstate.sqlite3{suffix}" for suffix in ("", "-wal", "-shm")]
    if how == "deleted":
        shutil.rmtree(directory)
    elif how == "moved away":
        directory.rename(below / "old")
    else:
        for file in files if how == "file deleted" else files[1:]:
            file.unlink()
        if how == "file moved over":
            shutil.copy(below / "other" / files[0].name, directory / "copy")
            (directory / "copy").rename(files[0])


def _inc_anew(settings: Settings) -> int:
    with opened(settings) as state:
        return state.inc("n")


def forever() -> Iterator[None]:
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        yield


_THREADS = """
        crowd = [threading.Thread(target=state.inc, args=("n",)) for _ in range(4)]
        for thread in crowd:
            thread.start()
        for thread in crowd:
            thread.join()
        """
USES = {
    "threads": f"""
        {_THREADS}
        assert state.get("n") == 4
        """,
    "fork": f"""
        state.inc("n")
        state.get("n")
        pid = os.fork()
        {_THREADS}
        state.get("n")
        if pid:
            assert os.waitpid(pid, 0)[1] == 0
            assert state.get("n") == 9
        """,
    "forgotten": """
        state.inc("n")
        del state
        State.from_settings(settings).inc("n")
        """,
}


@pytest.mark.slow
@pytest.mark.parametrize(
    "backend, use",
    [
        pytest.param(backend, use, id=f"{use}-{backend.id}")
        for backend in BACKENDS
        for use in USES
        if backend.id not in OPENED_ALIKE
        and (use != "threads") == (backend.scope != "process")
        and (use != "forgotten" or backend.id in ("filesystem", "redis"))
    ],
)
def test_exit(use: str, cache_settings: Settings) -> None:
    """An interpreter that ends without closing the store ends in silence, and so does its child."""
    process = run(USES[use], cache_settings, "-X", "dev", "-W", "error", "-W", FORKED)
    assert (process.returncode, process.stdout, process.stderr) == (0, "", "")


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such bits")
class TestPrivacy:
    @embedded
    def test_modes(self, cache_settings: Settings, tmp_path: Path) -> None:
        """Only this user can enter the directory or read the files, whatever the umask is."""
        settings = cache_settings | {"CACHE_DIR": str(tmp_path / "a" / "b")}
        before = os.umask(0)
        try:
            with opened(settings) as state:
                state.inc("n")
                state.get("n")
                files = {path.name: mode(path) for path in (tmp_path / "a" / "b").iterdir()}
        finally:
            os.umask(before)
        assert mode(tmp_path / "a" / "b") == 0o700
        assert len(files) >= 2
        assert set(files.values()) == {0o600}, files

    @embedded
    def test_open_directory(self, cache_settings: Settings, shared_directory: Path) -> None:
        """In a directory like `/tmp` the files lie in a private one of this user."""
        with opened(cache_settings | {"CACHE_DIR": str(shared_directory)}) as state:
            assert state.inc("n") == 1
        [private] = shared_directory.iterdir()
        assert private.name == f"sharedstate-{os.geteuid()}"
        assert mode(private) == 0o700
        assert in_child(_inc_anew, cache_settings | {"CACHE_DIR": str(shared_directory)}) == 2

    @embedded
    def test_link(self, cache_settings: Settings, shared_directory: Path, tmp_path: Path) -> None:
        """A link that lies where the private directory would is not followed."""
        (tmp_path / "elsewhere").mkdir()
        (shared_directory / f"sharedstate-{os.geteuid()}").symlink_to(tmp_path / "elsewhere")
        settings = cache_settings | {"CACHE_DIR": str(shared_directory)}
        with opened(settings) as state, pytest.raises(ConfigurationError, match="symbolic link"):
            state.inc("n")
        assert list((tmp_path / "elsewhere").iterdir()) == []

    @embedded
    @pytest.mark.skipif("os.geteuid() != 0", reason="only root can give a directory away")
    @pytest.mark.parametrize("sub", ["", "private"])
    def test_of_somebody_else(
        self, sub: str, cache_settings: Settings, shared_directory: Path, tmp_path: Path
    ) -> None:
        """A directory that belongs to somebody else is refused and named."""
        theirs = shared_directory / f"sharedstate-{os.geteuid()}" if sub else tmp_path / "theirs"
        theirs.mkdir(mode=0o700)
        os.chown(theirs, 1, 1)
        settings = cache_settings | {"CACHE_DIR": str(shared_directory if sub else theirs)}
        with opened(settings) as state, pytest.raises(ConfigurationError, match=str(theirs)):
            state.inc("n")
        assert list(theirs.iterdir()) == []

    @embedded
    def test_private_one_that_was_opened_up(
        self, cache_settings: Settings, shared_directory: Path
    ) -> None:
        """A private directory that others may write to is refused and named."""
        private = shared_directory / f"sharedstate-{os.geteuid()}"
        private.mkdir()
        private.chmod(0o770)
        settings = cache_settings | {"CACHE_DIR": str(shared_directory)}
        with opened(settings) as state, pytest.raises(ConfigurationError, match=str(private)):
            state.inc("n")

    @embedded
    @pytest.mark.parametrize("bits", [0o777, 0o775, 0o770])
    def test_open_directory_that_is_not_sticky(
        self, bits: int, cache_settings: Settings, shared_directory: Path
    ) -> None:
        """Where others could rename our directory nothing is made."""
        shared_directory.chmod(bits)
        settings = cache_settings | {"CACHE_DIR": str(shared_directory)}
        with opened(settings) as state, pytest.raises(ConfigurationError, match="chmod 700"):
            state.inc("n")
        assert list(shared_directory.iterdir()) == []

    @of_ids("database-sqlite")
    def test_modes_of_a_database(self, cache_settings: Settings, tmp_path: Path) -> None:
        """Only this user can read a database's file and what lies beside it."""
        before = os.umask(0)
        try:
            with opened(cache_settings) as state:
                state.inc("n")
                state.get("n")
                files = {path.name: mode(path) for path in tmp_path.iterdir()}
        finally:
            os.umask(before)
        assert files == dict.fromkeys(
            ["state.db", "state.db-wal", "state.db-shm", "state.db.lock"], 0o600
        )

    @of_ids("database-sqlite")
    @pytest.mark.parametrize("bits", [0o1777, 0o777, 0o775])
    def test_database_in_an_open_directory(
        self, bits: int, cache_settings: Settings, shared_directory: Path
    ) -> None:
        """Where others could plant files for SQLite nothing is made, not even on closing."""
        shared_directory.chmod(bits)
        settings = cache_settings | {"CACHE_URL": f"sqlite:///{shared_directory}/state.db"}
        with opened(settings) as state, pytest.raises(ConfigurationError, match="CACHE_DATABASE"):
            state.inc("n")
        assert list(shared_directory.iterdir()) == []

    @of_ids("database-sqlite")
    @pytest.mark.skipif("os.geteuid() != 0", reason="only root can give a file away")
    @pytest.mark.parametrize("what", ["file", "directory"])
    def test_database_of_somebody_else(
        self, what: str, cache_settings: Settings, tmp_path: Path
    ) -> None:
        """A file or a directory that belongs to somebody else is refused and named."""
        (tmp_path / "state.db").touch()
        theirs = tmp_path / "state.db" if what == "file" else tmp_path
        os.chown(theirs, 1, 1)
        with opened(cache_settings) as state, pytest.raises(ConfigurationError, match=str(theirs)):
            state.get("n")

    @of_ids("database-sqlite", "filesystem")
    def test_link_for_the_lock_file(
        self, backend: Backend, cache_settings: Settings, tmp_path: Path
    ) -> None:
        """A link that lies where the lock file would is not followed."""
        name = "sharedstate.lock" if backend.id == "filesystem" else "state.db.lock"
        (tmp_path / name).symlink_to(tmp_path / "victim")
        with opened(cache_settings) as state, pytest.raises(StoreUnavailable):
            state.inc("n")
        assert not (tmp_path / "victim").exists()

    @pytest.fixture
    def shared_directory(self, tmp_path: Path) -> Path:
        """A directory like `/tmp`."""
        directory = tmp_path / "like-tmp"
        directory.mkdir()
        directory.chmod(0o1777)
        return directory


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# Files that are not ours, or not whole: what makes one of a whole one of ours.


def _text(path: Path) -> None:
    path.write_text("what somebody else has written\n" * 400)


def _short_text(path: Path) -> None:
    path.write_text("short")


def _other_tables(path: Path) -> None:
    path.unlink()
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE entries (key, value, expires)")
    connection.commit()
    connection.close()


def _other_environment(path: Path) -> None:
    import lmdb

    path.unlink()
    with lmdb.open(str(path.parent), max_dbs=1) as environment:
        with environment.begin(environment.open_db(b"theirs"), write=True) as transaction:
            transaction.put(b"key", b"value")


def _cut_in_half(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def _cut_to(size: int, path: Path) -> None:
    os.truncate(path, size)


def _schema_flipped(path: Path) -> None:
    """A byte of the schema's text is none of any text."""
    path.write_bytes(path.read_bytes().replace(b"PRIMARY KEY", b"PRIMARY \xf3EY"))


def _overwritten(path: Path) -> None:
    """All but the first kilobyte is noise."""
    with path.open("r+b") as file:
        file.seek(1024)
        file.write(b"\xa5" * (path.stat().st_size - 1024))


_SPOILERS = {
    "text": _text,
    "short text": _short_text,
    "cut in half": _cut_in_half,
    "cut to 3000": partial(_cut_to, 3000),
    "cut to 100": partial(_cut_to, 100),
}
_FILES = {
    "filesystem": _SPOILERS
    | {
        "other tables": _other_tables,
        "overwritten": _overwritten,
        "schema flipped": _schema_flipped,
    },
    "lmdb": _SPOILERS | {"other environment": _other_environment},
}


@pytest.mark.parametrize(
    "backend, spoil",
    [
        pytest.param(backend, spoil, id=f"{backend.id}-{name}")
        for backend in BACKENDS
        for name, spoil in _FILES.get(backend.name, {}).items()
    ],
)
def test_bad_file(spoil: Callable[[Path], None], cache_settings: Settings, tmp_path: Path) -> None:
    """A file that is not ours, or damaged, is refused by its name and left as it is."""
    with opened(cache_settings) as state:
        for i in range(100):
            state.set(f"k{i}", "x" * 500)
        location = Path(state.store.describe()["location"])
    file = location / "data.mdb" if location.is_dir() else location
    spoil(file)
    before = file.read_bytes()
    for use in (_read_all, _write_one):
        # In a child, as a damaged file that is mapped kills the process.
        kind, message = in_child(use, cache_settings)
        assert kind in ("StoreUnavailable", "ConfigurationError")
        assert str(location) in message
    assert file.read_bytes() == before


@pytest.mark.parametrize(
    "backend",
    [pytest.param(b, id=b.id) for b in BACKENDS if b.id in ("filesystem", "database-sqlite")],
)
def test_wrong_types(backend: Backend, cache_settings: Settings) -> None:
    """What a flipped bit makes of a value or an expiry is an error that says what to do."""
    damages = (
        "value = CAST(X'61' AS TEXT)",
        "value = CAST(X'ff61' AS TEXT)",
        "value = 1.5",
        "expires = X'00'",
        "expires = CAST(X'ff' AS TEXT)",
    )
    with opened(cache_settings) as state:
        state.set("k", "x", timeout=100)
        location = str(state.store.describe()["location"]).removeprefix("sqlite+pysqlite://")
        table = "entries" if backend.id == "filesystem" else "sharedstate"
        for damage in damages:
            state.set("k", "x", timeout=100)
            raw = sqlite3.connect(location.replace("///", "/"), isolation_level=None)
            raw.execute(f"UPDATE {table} SET {damage}")
            uses = [state.keys, state.items, lambda: list(state.store.snapshot())]
            uses += [lambda: state.get("k"), lambda: state.get_many("k", "m")]
            uses += [lambda: state.update("k", str)]
            for use in uses:
                if "value" in damage and use == state.keys:
                    continue
                with pytest.raises(StoreUnavailable, match="damaged.*flask state restore") as error:
                    use()
                assert location.rpartition("/")[2] in str(error.value)
            raw.execute(f"DELETE FROM {table}")
            raw.close()
        state.set("k", "x")
        with closing(sqlite3.connect(location.replace("///", "/"), isolation_level=None)) as raw:
            key = "key" if backend.id == "filesystem" else "name"
            raw.execute(f"UPDATE {table} SET {key} = CAST({key} || X'ff' AS BLOB)")
        for use in (state.keys, state.items):
            with pytest.raises(StoreUnavailable, match="damaged.*flask state restore"):
                use()


def _read_all(settings: Settings) -> Any:
    with opened(settings) as state:
        return state.get_many(*(f"k{i}" for i in range(100)))


def _write_one(settings: Settings) -> Any:
    with opened(settings) as state:
        return state.set("k50", "changed")


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
        kind, _ = in_child(_inc_anew, settings)
        assert kind in ("StoreFull", "StoreUnavailable", "ConfigurationError")
        (small_disk / "ballast").unlink()
        assert in_child(_inc_anew, settings) == 1

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


def fill(state: State, size: int, start: int = 0) -> dict[str, str]:
    """What could be stored until the store was full."""
    stored = {}
    try:
        for i in range(start, start + 100_000):
            value = f"{i}".ljust(size, "x")
            state.set(f"k{i}", value)
            stored[f"k{i}"] = value
    except StoreFull:
        return stored
    raise AssertionError("it is never full")


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


@of("filesystem")
def test_collected_in_proportion(cache_settings: Settings) -> None:
    """Batches collect as many records as they write, so that expired ones do not pile up."""
    with opened(cache_settings) as state:
        now = 1_800_000_000.0
        state.store.clock = lambda: now
        for i in range(20):
            state.set_many({f"{i} {j}": "x" for j in range(500)}, timeout=1)
            now += 2
            assert records(state.store) <= 1000


@of("simple", "filesystem", "lmdb")
@pytest.mark.slow
def test_expired_are_collected(backend: Backend, state: State, store: Store, clock: Clock) -> None:
    """What has expired goes as new keys come, so that there is never much more than what lives."""
    for i in range(5000):
        state.set(f"k{i}", "x" * 500, timeout=10)
        clock.advance(0.125)
        if i % 500 == 499:
            assert records(store) < 80 + 200
    assert len(state.keys()) == 79
    # One that is renewed all the time leaves nothing behind either.
    for _ in range(2000):
        state.touch("k4999", timeout=10)
        clock.advance(0.1)
        state.set("other", 1, timeout=1)
    assert records(store) < 100


def records(store: Any) -> int:
    """How many there are with those that have expired, in whatever is larger: table or index."""
    if store.name == "simple":
        return max(len(store._records), len(store._expiries) // 2)
    if store.name == "lmdb":
        environment = store._opened.value
        with environment.env.begin() as transaction:
            counts = (transaction.stat(), transaction.stat(environment.expiries))
            return max(count["entries"] for count in counts)
    connection = sqlite3.connect(store.describe()["location"])
    [[count]] = connection.execute("SELECT count(*) FROM entries").fetchall()
    connection.close()
    return count


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


def test_placeholders_have_no_numbers() -> None:
    """No statement for SQLite numbers its placeholders: Python 3.12.0 to 3.12.3 warn of `?1`."""
    stores = TESTS.parent / "sharedstate" / "stores"
    modules = [*stores.glob("filesystem/*.py"), *stores.glob("database/**/*.py")]
    modules += stores.glob("support/sqlite*.py")
    assert len(modules) >= 10
    for module in modules:
        assert not re.search(r"\?\d", module.read_text()), module
