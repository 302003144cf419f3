"""``python app.py``: what it says, and how it starts and stops."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
from served import ROOT, ask, command, environment, free_port, serving

from service.server.restarts import Pauses
from sharedstate.stores.filesystem.store import FILE_NAME, FilesystemStore

pytestmark = pytest.mark.slow


def test_it_says_where_it_listens_and_where_the_state_is(tmp_path: Path) -> None:
    """The first lines name the address, the store and the file, and then it serves."""
    port = free_port()
    with serving(port, "--workers", "2", CACHE_DIR=str(tmp_path)) as process:
        assert process.stdout
        said = process.stdout.readline() + process.stdout.readline()
        assert f"http://127.0.0.1:{port}" in said
        assert "2 workers" in said
        assert f"filesystem, shared by all processes of this host, in {tmp_path}" in said
        assert ask(port, "POST", "/v1/counters/a") == (200, b'{"key":"a","value":1}')


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_requests_in_flight_are_finished(tmp_path: Path, stop: signal.Signals) -> None:
    """A request that waits for the store when the signal comes gets its answer; then all end."""
    port = free_port()
    settings = {"CACHE_DIR": str(tmp_path), "CACHE_TIMEOUT": "30"}
    store = FilesystemStore(tmp_path)
    answers = []
    with serving(port, "--workers", "2", **settings) as process:
        assert ask(port, "POST", "/v1/counters/a")[0] == 200
        with store._open():  # The turn to write is ours.
            client = threading.Thread(
                target=lambda: answers.append(ask(port, "POST", "/v1/counters/a"))
            )
            client.start()
            _wait_until_connected(port)
            process.send_signal(stop)
        client.join()
        assert process.wait(30) == 0
    store.close()
    assert answers == [(200, b'{"key":"a","value":2}')]


@pytest.mark.parametrize("threads", ["1", "4"])
def test_requests_that_wait_behind_others_are_finished_too(tmp_path: Path, threads: str) -> None:
    """Of many requests in flight when SIGTERM comes, each gets its answer, and each another one."""
    port = free_port()
    settings = {"CACHE_DIR": str(tmp_path), "CACHE_TIMEOUT": "30"}
    store = FilesystemStore(tmp_path)
    with serving(port, "--workers", "2", "--threads", threads, **settings) as process:
        assert ask(port, "POST", "/v1/counters/a")[0] == 200
        with ThreadPoolExecutor(20) as clients:
            with store._open():  # The turn to write is ours.
                asked = [clients.submit(ask, port, "POST", "/v1/counters/a") for _ in range(20)]
                _wait_until_connected(port, 20)
                process.terminate()
            answers = [future.result() for future in asked]
        assert process.wait(30) == 0
    store.close()
    assert sorted(json.loads(body)["value"] for _, body in answers) == list(range(2, 22))


def _wait_until_connected(port: int, requests: int = 1) -> None:
    """Wait until all requests are read and wait for their turn: nothing is left to read."""
    port_in_hex = f":{port:04X} "
    for _ in range(2000):
        rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        served = [row for row in rows if f"{row[1]} ".endswith(port_in_hex) and row[3] == "01"]
        if len(served) == requests and all(row[4].endswith(":00000000") for row in served):
            return
        threading.Event().wait(0.01)
    raise AssertionError("no request came")


def test_a_port_in_use_is_one_line() -> None:
    """Another server on the port is reported with the remedy, and nothing else."""
    with closing(socket.create_server(("127.0.0.1", 0))) as other:
        port = other.getsockname()[1]
        done = subprocess.run(
            command("--port", str(port)),
            cwd=ROOT,
            env=environment(CACHE_TYPE="simple"),
            capture_output=True,
            text=True,
        )
    assert done.returncode == 1
    assert re.fullmatch(rf"sharedstate: cannot listen on 127.0.0.1 port {port}: .*\n", done.stderr)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("CACHE_TYPE", "nosuch", "CACHE_TYPE 'nosuch' .*filesystem.*"),
        ("THREADS", "many", "THREADS is 'many'; it can be an integer of at least 1"),
        ("API_TOKEN", "null", "API_TOKEN has a wrong value, which is not shown; it can be text.*"),
    ],
)
def test_a_wrong_setting_is_one_line(name: str, value: str, said: str) -> None:
    """It is reported with what it can be, and nothing else."""
    done = subprocess.run(
        command(), cwd=ROOT, env=environment(**{name: value}), capture_output=True, text=True
    )
    assert done.returncode == 1
    assert re.fullmatch(f"sharedstate: {said}\n", done.stderr)


def test_several_workers_on_simple_are_warned_of_and_not_ready() -> None:
    """Workers that share nothing are said so at the start, and by the readiness route."""
    port = free_port()
    with serving(port, "--workers", "2", CACHE_TYPE="simple") as process:
        status, body = ask(port, "GET", "/health/ready")
        assert (status, b"each counts for itself" in body) == (503, True)
        process.terminate()
        assert process.stdout
        assert "each counts for itself" in process.stdout.read()


def test_all_that_is_said_is_json(tmp_path: Path) -> None:
    """With LOG_FORMAT=json every line is an object: the first, one a request, and Granian's own."""
    port = free_port()
    settings = {"CACHE_DIR": str(tmp_path), "LOG_FORMAT": "json", "ACCESS_LOG": "1"}
    with serving(port, **settings) as process:
        assert ask(port, "GET", "/health/live")[0] == 200
        worker = json.loads(ask(port, "GET", "/v1/store")[1])["worker"]
        os.kill(worker, signal.SIGKILL)
        assert process.stdout
        said = []
        while not said or said[-1]["logger"] != "_granian":
            said.append(json.loads(process.stdout.readline()))
        process.terminate()
        said += [json.loads(line) for line in process.stdout]
    messages = [line["message"] for line in said]
    assert f"http://127.0.0.1:{port}" in messages[0]
    assert [line["path"] for line in said if "path" in line] == ["/health/live", "/v1/store"]
    assert any(line["logger"] == "_granian" and "exit" in line["message"] for line in said)


def workers_of(process: subprocess.Popen[str]) -> set[int]:
    """The worker processes of a server that are alive."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return {int(pid) for pid in children if " Z " not in Path(f"/proc/{pid}/stat").read_text()}


def wait_for(condition: Callable[[], Any]) -> None:
    for _ in range(3000):
        with suppress(OSError):  # A process is gone, or a connection with its worker.
            if condition():
                return
        threading.Event().wait(0.01)
    raise AssertionError("it did not come to that")


def read(port: int, path: str) -> str:
    """What a path shows, asked again if the worker dies that has the connection."""
    answers: list[bytes] = []

    def is_answered() -> bool:
        status, body = ask(port, "GET", path)
        assert status == 200
        answers.append(body)
        return True

    wait_for(is_answered)
    return answers[0].decode()


INCREMENTS = 'sharedstate_store_operations_total{operation="increment"}'


@pytest.mark.parametrize("killed", [1, 2], ids=["one", "both"])
def test_workers_that_die_are_started_again(tmp_path: Path, killed: int) -> None:
    """The other one serves meanwhile, and what the dead have counted stays in ``/metrics``.

    The files in which the workers count do not become more.
    """
    port, metrics = free_port(), tmp_path / "metrics"
    settings = {"CACHE_DIR": str(tmp_path / "state"), "METRICS_DIR": str(metrics)}
    with serving(port, "--workers", "2", **settings) as process:
        for _ in range(20):
            assert ask(port, "POST", "/v1/counters/a")[0] == 200
        wait_for(lambda: len(workers_of(process)) == 2)
        before, files = workers_of(process), set(metrics.iterdir())
        for worker in sorted(before)[:killed]:
            os.kill(worker, signal.SIGKILL)
        while len(workers_of(process) - set(sorted(before)[:killed])) < 2:
            assert json.loads(read(port, "/v1/counters/a"))["value"] == 20
            assert f"{INCREMENTS} 20.0" in read(port, "/metrics")
        new = workers_of(process) - before
        assert len(new) == killed
        wait_for(lambda: json.loads(read(port, "/v1/store"))["worker"] in new)
        assert f"{INCREMENTS} 20.0" in read(port, "/metrics")
        assert set(metrics.iterdir()) == files
        process.terminate()
        assert process.wait(30) == 0


def killed_twice(process: subprocess.Popen[str], port: int) -> str:
    """The line that says when a worker is started again which died as soon as it had started."""
    assert ask(port, "GET", "/health/live")[0] == 200
    (first,) = workers_of(process)
    os.kill(first, signal.SIGKILL)
    wait_for(lambda: workers_of(process) - {first})
    (second,) = workers_of(process) - {first}
    os.kill(second, signal.SIGKILL)
    assert process.stdout
    return next(line for line in process.stdout if "started again" in line)


def test_workers_that_die_at_once_are_started_after_a_pause(tmp_path: Path) -> None:
    """Which is logged; then they serve, and ``/metrics`` has what those before them counted."""
    port = free_port()
    with serving(port, "--workers", "1", CACHE_DIR=str(tmp_path)) as process:
        assert ask(port, "POST", "/v1/counters/a")[0] == 200
        assert "in 1 s" in killed_twice(process, port)
        assert ask(port, "POST", "/v1/counters/a") == (200, b'{"key":"a","value":2}')
        assert f"{INCREMENTS} 2.0" in read(port, "/metrics")
        process.terminate()
        assert process.wait(30) == 0


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_a_server_without_workers_can_be_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: signal.Signals
) -> None:
    """In the pause before they are started again too; its temporary files are gone."""
    port = free_port()
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    with serving(port, "--workers", "1", CACHE_DIR=str(tmp_path / "state")) as process:
        killed_twice(process, port)
        process.send_signal(stop)
        assert process.wait(30) == 0
        assert process.stdout and process.stdout.read() == ""
    assert list((tmp_path / "tmp").iterdir()) == []


def test_workers_that_cannot_start_end_the_server(tmp_path: Path) -> None:
    """It does not try for ever: where none was ever ready it ends, and its log has the reason."""
    (tmp_path / "sitecustomize.py").write_text(
        "import flask, multiprocessing\n"
        "init = flask.Flask.__init__\n"
        "def broken(*args, **kwargs):\n"
        "    if multiprocessing.parent_process():\n"
        "        1 / 0\n"
        "    init(*args, **kwargs)\n"
        "flask.Flask.__init__ = broken\n"
    )
    done = subprocess.run(
        command("--port", str(free_port()), "--workers", "2"),
        cwd=ROOT,
        env=environment(CACHE_TYPE="lmdb", CACHE_DIR=str(tmp_path)) | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    assert "a worker cannot start" in done.stderr and "ZeroDivisionError" in done.stderr
    assert done.stderr.endswith("\nsharedstate: no worker could start; the lines above say why\n")


def test_the_application_is_executed_once() -> None:
    """``python app.py`` does not import ``app`` besides, and has the same instance folder."""
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import runpy, sys\n"
            "import service.server.serve as serve\n"
            "made = []\n"
            "def refuse(app, host):\n"
            "    made.append(app)\n"
            "    sys.exit()\n"
            "serve._refuse_open_door = refuse\n"
            "sys.argv = ['app.py']\n"
            "try:\n"
            f"    runpy.run_path({str(ROOT / 'app.py')!r}, run_name='__main__')\n"
            "except SystemExit:\n"
            "    print(len(made), 'app' in sys.modules, made[0].instance_path)\n",
        ],
        cwd="/",
        env=environment(CACHE_TYPE="simple") | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout == f"1 False {ROOT / 'instance'}\n", done.stderr


def test_pauses_grow_and_begin_anew() -> None:
    """They double up to a bound while servers last briefly."""
    pauses = Pauses()
    assert [pauses.after(lasted=0.1) for _ in range(7)] == [1, 2, 4, 8, 16, 30, 30]
    assert [pauses.after(lasted) for lasted in (60, 59)] == [1, 2]


def test_workers_count_together_in_a_directory_that_goes_with_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``/metrics`` needs no setting: the workers have a directory, until the server ends."""
    port = free_port()
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    with serving(port, "--workers", "2", CACHE_DIR=str(tmp_path / "state")) as process:
        for number in range(1, 9):
            assert ask(port, "POST", "/v1/counters/a")[0] == 200
            text = ask(port, "GET", "/metrics")[1].decode()
            assert f'sharedstate_store_operations_total{{operation="increment"}} {number}.0' in text
        (directory,) = (tmp_path / "tmp").glob("sharedstate-*")
        process.terminate()
        assert process.wait(30) == 0
        assert not directory.exists()


def test_the_state_outlives_the_server(tmp_path: Path) -> None:
    """A restarted server, on the other embedded store's directory too, goes on where it was."""
    for kind in ("filesystem", "lmdb"):
        for expected in (1, 2):
            port = free_port()
            with serving(port, CACHE_DIR=str(tmp_path), CACHE_TYPE=kind) as process:
                body = ask(port, "POST", "/v1/counters/a")[1]
                assert body == b'{"key":"a","value":%d}' % expected
                process.terminate()
                assert process.wait(30) == 0
    assert (tmp_path / FILE_NAME).exists()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1"])
def test_other_machines_are_not_served_without_a_token(host: str) -> None:
    """An address that others can reach is refused, with what to do about it, and nothing else."""
    done = subprocess.run(
        command("--host", host, "--port", str(free_port())),
        cwd=ROOT,
        env=environment(CACHE_TYPE="simple"),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert re.fullmatch(r"sharedstate: --host .*API_TOKEN.*--insecure.*\n", done.stderr)


@pytest.mark.parametrize("settings", [{"API_TOKEN": "a-long-random-text"}, {}])
def test_other_machines_are_served_when_told(settings: dict[str, str], tmp_path: Path) -> None:
    """With a token the service asks for it on every address; ``--insecure`` lets everybody in."""
    port, options = free_port(), [] if settings else ["--insecure"]
    with serving(port, "--host", "0.0.0.0", *options, CACHE_DIR=str(tmp_path), **settings):
        assert ask(port, "GET", "/health/live")[0] == 200
        assert ask(port, "GET", "/v1/values")[0] == (401 if settings else 200)
