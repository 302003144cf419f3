"""The applications in ``examples/`` run, and do what they say."""

from __future__ import annotations

import json
import os
import re
import runpy
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.request import Request, urlopen

import pytest
from flask import Flask
from flask.cli import prepare_import

from race.servers.processes import reserved_port, running

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLASK_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("FLASK_CACHE_TIMEOUT", "30")


def application(name: str) -> Flask:
    app: Flask = runpy.run_path(str(EXAMPLES / name))["app"]
    return app


def test_the_commands_find_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each application is started by a name that lets it import from the root of the clone."""
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "path", [*sys.path])
    names = re.findall(r"`flask --app (\S+) run`", (EXAMPLES / "README.md").read_text())
    assert len(names) == 4
    for name in names:
        assert prepare_import(name) == name
        assert sys.path[0] == str(ROOT)


def test_before_counts_alone() -> None:
    """The application of the question counts, as long as nobody else asks."""
    client = application("before.py").test_client()
    assert [client.get("/").text for _ in range(3)] == ["1", "2", "3"]


@pytest.mark.slow
def test_after_counts_across_processes(store: None) -> None:
    """Two processes of the answer's application share one count."""
    ask = (
        "import runpy; app = runpy.run_path('examples/after.py')['app']; "
        "print([app.test_client().get('/').text for _ in range(50)])"
    )
    command = [sys.executable, "-c", ask]
    asking = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) for _ in range(2)]
    printed = [process.communicate(timeout=60)[0] for process in asking]
    numbers = sorted(int(text) for out in printed for text in eval(out))
    assert numbers == list(range(1, 101))


def test_a_clients_parallel_clicks_are_exact(store: None) -> None:
    """Requests of one client at the same time get different numbers; another client begins at 1."""
    app = application("sessions.py")
    first = app.test_client()
    assert first.post("/clicks").get_json() == {"you have clicked": 1}
    cookie = first.get_cookie("session")
    assert cookie is not None

    def click(_: int) -> int:
        own = app.test_client()
        own.set_cookie(cookie.key, cookie.value)
        number: int = own.post("/clicks").get_json()["you have clicked"]
        return number

    with ThreadPoolExecutor(8) as threads:
        assert sorted(threads.map(click, range(20))) == list(range(2, 22))
    assert app.test_client().post("/clicks").get_json() == {"you have clicked": 1}


def test_the_limit_holds(store: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sixth request of a minute is refused, with Flask-Limiter and without."""
    monkeypatch.setattr(time, "time", lambda: 1_800_000_000.0)  # No room comes back meanwhile.
    client = application("rate_limit.py").test_client()
    for path in ("/", "/own"):
        assert [client.get(path).status_code for _ in range(6)] == [200] * 5 + [429]


@pytest.mark.slow
def test_gunicorn_on_redis(redis_url: str, tmp_path: Path) -> None:
    """Four workers on one Redis give 40 different numbers."""
    python_path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "FLASK_CACHE_URL": redis_url, "PYTHONPATH": python_path}
    environment["FLASK_CACHE_TIMEOUT"] = "30"
    config = str(EXAMPLES / "gunicorn_redis/gunicorn.conf.py")
    with reserved_port() as port, (tmp_path / "log").open("w+b") as log:
        address = f"127.0.0.1:{port}"
        command = [sys.executable, "-m", "gunicorn", "--config", config, "--bind", address]
        command += ["--no-control-socket"]
        with running(command, log, cwd=ROOT, env=environment):
            _wait_for(port)
            with ThreadPoolExecutor(8) as threads:
                visits = [threads.submit(_visit, port) for _ in range(40)]
                assert sorted(visit.result() for visit in visits) == list(range(1, 41))


@pytest.mark.slow
def test_four_workers_do_each_job_once(tmp_path: Path) -> None:
    """Each worker calls the jobs, and they are done once; one worker leads."""
    environment = {**os.environ, "FLASK_CACHE_DIR": str(tmp_path / "state")}
    environment["FLASK_CACHE_TIMEOUT"] = "30"
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    period = time.time() // 1800
    with reserved_port() as port, (tmp_path / "log").open("w+b") as log:
        command = [sys.executable, "-m", "gunicorn", "--workers", "4", "--chdir", str(EXAMPLES)]
        command += ["--bind", f"127.0.0.1:{port}", "--no-control-socket", "jobs:app"]
        with running(command, log, cwd=ROOT, env=environment):
            _wait_for(port)
            done: dict[str, int] = {}
            deadline = time.monotonic() + 90
            while done.get("calls", 0) < 4 or not done.get("leaders"):
                assert time.monotonic() < deadline, done
                time.sleep(0.1)
                with urlopen(f"http://127.0.0.1:{port}/", timeout=60) as response:
                    done = json.load(response)
    if time.time() // 1800 == period:  # Else another period may have begun.
        assert (done["reports"], done["tidied"], done["leaders"]) == (1, 1, 1)


def test_without_redis_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no Redis listens, the example responds with 503."""
    monkeypatch.setenv("FLASK_CACHE_URL", "redis://127.0.0.1:1/0")
    response = application("gunicorn_redis/app.py").test_client().post("/visit")
    assert (response.status_code, response.headers["Retry-After"]) == (503, "1")


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + 90
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def _visit(port: int) -> int:
    with urlopen(Request(f"http://127.0.0.1:{port}/visit", method="POST"), timeout=60) as response:
        number: int = json.load(response)["you are number"]
        return number
