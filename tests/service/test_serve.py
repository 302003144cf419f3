"""``python app.py``: what it says, and how it starts and stops."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from served import (
    ROOT,
    SECONDS,
    ask,
    command,
    environment,
    free_port,
    serving,
    wait_until_read,
)

import app as service
from service.server import serve
from sharedstate.stores.filesystem.store import FILE_NAME, FilesystemStore

pytestmark = pytest.mark.slow


def test_it_says_where_it_listens_and_where_the_state_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first lines name the address, the store and the file, and then it serves.

    ``/metrics`` needs no setting: the workers count in a directory, which goes with them.
    """
    port, state = free_port(), tmp_path / "state"
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    with serving(port, "--workers", "2", CACHE_DIR=str(state)) as process:
        assert process.stdout
        said = process.stdout.readline() + process.stdout.readline()
        assert f"http://127.0.0.1:{port}" in said
        assert "2 workers" in said
        assert f"filesystem, shared by all processes of this host, in {state}" in said
        for number in range(1, 9):
            assert json.loads(ask(port, "POST", "/v1/counters/a")[1])["value"] == number
            text = ask(port, "GET", "/metrics")[1].decode()
            assert f'sharedstate_store_operations_total{{operation="increment"}} {number}.0' in text
        (directory,) = (tmp_path / "tmp").glob("sharedstate-*")
        process.terminate()
        assert process.wait(SECONDS) == 0
        assert not directory.exists()


@pytest.mark.parametrize(("stop", "threads"), [(signal.SIGINT, "1"), (signal.SIGTERM, "4")])
def test_requests_in_flight_are_finished(
    tmp_path: Path, stop: signal.Signals, threads: str
) -> None:
    """Of many that wait for the store when the signal comes, each gets a number of its own.

    Then all processes end.
    """
    port = free_port()
    settings = {"CACHE_DIR": str(tmp_path), "CACHE_TIMEOUT": str(SECONDS)}
    store = FilesystemStore(tmp_path)
    with serving(port, "--workers", "2", "--threads", threads, **settings) as process:
        assert ask(port, "POST", "/v1/counters/a")[0] == 200
        with ThreadPoolExecutor(20) as clients:
            with store._open():  # The turn to write is ours.
                asked = [clients.submit(ask, port, "POST", "/v1/counters/a") for _ in range(20)]
                wait_until_read(port, 20)
                process.send_signal(stop)
            responses = [future.result() for future in asked]
        assert process.wait(SECONDS) == 0
    store.close()
    assert sorted(json.loads(body)["value"] for _, body in responses) == list(range(2, 22))


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


def said_at_the_end(monkeypatch: pytest.MonkeyPatch, *arguments: str, **settings: str) -> str:
    """What a server says that does not begin to serve, in this process."""
    defaults = {"CACHE_TYPE": "simple", "INSECURE": "0", "LOG_FORMAT": "text"}
    kept = environment(**defaults | settings)
    for name in os.environ.keys() | kept.keys():
        monkeypatch.delenv(name) if name not in kept else monkeypatch.setenv(name, kept[name])
    monkeypatch.setattr(serve, "exit_on_signals", lambda: None)
    with pytest.raises(SystemExit) as end:
        serve.main(lambda: service.create_app({"LOG_FORMAT": None}), [*arguments])
    return str(end.value)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("CACHE_TYPE", "nosuch", "CACHE_TYPE 'nosuch' .*filesystem.*"),
        ("THREADS", "many", "THREADS is 'many'; it can be an integer of at least 1"),
        ("API_TOKEN", "null", "API_TOKEN has a wrong value, which is not shown; it can be text.*"),
    ],
)
def test_a_wrong_setting_is_one_line(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str
) -> None:
    """It is reported with what it can be."""
    found = said_at_the_end(monkeypatch, **{name: value})
    assert re.fullmatch(f"sharedstate: {said}", found)


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
        assert ask(port, "GET", "/health/live")[0] == 200  # Started again, it stops at once.
        process.terminate()
        said += [json.loads(line) for line in process.stdout]
    messages = [line["message"] for line in said]
    assert f"http://127.0.0.1:{port}" in messages[0]
    assert [line["path"] for line in said if "path" in line] == [
        "/health/live",
        "/v1/store",
        "/health/live",
    ]
    assert any(line["logger"] == "_granian" and "exit" in line["message"] for line in said)


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
            "serve._refuse_unprotected = refuse\n"
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
        timeout=SECONDS,
    )
    assert done.stdout == f"1 False {ROOT / 'instance'}\n", done.stderr


def test_the_state_outlives_the_server(tmp_path: Path) -> None:
    """A server that is started again goes on where the one before it was."""
    for expected in (1, 2):
        port = free_port()
        with serving(port, "--workers", "1", CACHE_DIR=str(tmp_path)) as process:
            body = ask(port, "POST", "/v1/counters/a")[1]
            assert body == b'{"key":"a","value":%d}' % expected
            process.terminate()
            assert process.wait(SECONDS) == 0
    assert (tmp_path / FILE_NAME).exists()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1"])
def test_other_machines_are_not_served_without_a_token(
    monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    """An address that others can reach is refused, with what to do about it."""
    found = said_at_the_end(monkeypatch, "--host", host)
    assert re.fullmatch(r"sharedstate: --host .*API_TOKEN.*--insecure.*", found)


def test_other_machines_are_served_with_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    """It goes on to the port, which is in use here."""
    with closing(socket.create_server(("0.0.0.0", 0))) as other:
        port = str(other.getsockname()[1])
        arguments = ("--host", "0.0.0.0", "--port", port)
        found = said_at_the_end(monkeypatch, *arguments, API_TOKEN="a-long-random-text")
    assert found.startswith(f"sharedstate: cannot listen on 0.0.0.0 port {port}: ")


def test_other_machines_are_served_when_told(tmp_path: Path) -> None:
    """``--insecure`` lets everybody in, on every address."""
    port = free_port()
    arguments = ("--host", "0.0.0.0", "--insecure", "--workers", "1")
    with serving(port, *arguments, CACHE_DIR=str(tmp_path)):
        assert ask(port, "GET", "/v1/values")[0] == 200
