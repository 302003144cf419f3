"""The proof's servers, which start, fail and stop cleanly."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from served import wait_for

from race.clients.rush import rush
from race.servers import processes, recipes
from race.servers import serve as servers
from race.servers.processes import HOST, reserved_port
from race.servers.recipes import SERVERS, missing
from race.servers.serve import ServerFailed, serve

ROOT = Path(__file__).parents[2]


@pytest.fixture
def app(tmp_path: Path) -> Path:
    """A directory with an application that has no routes."""
    code = "import flask\ndef create_app():\n    return flask.Flask('app')\n"
    (tmp_path / "app.py").write_text(code)
    return tmp_path


def listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex((HOST, port)) == 0


one_a_program = pytest.mark.parametrize(
    "name", ["flask-threaded", "gunicorn-sync", "waitress", "granian"], indirect=True
)


@pytest.mark.slow
class TestServers:
    @pytest.fixture(params=SERVERS)
    def name(self, request: pytest.FixtureRequest) -> str:
        if lacking := missing(request.param):
            is_optional = bool(SERVERS[request.param].program)  # it would have to be compiled
            give_up = pytest.fail if os.environ.get("CI") and not is_optional else pytest.skip
            give_up(f"{request.param} needs {lacking}")
        return request.param

    def test_serves_and_stops(self, name, app):
        """It holds 100 connections at once, serves them round by round, and is gone after."""
        with serve(name, cwd=app) as server:
            responses = rush(server.host, server.port, "GET", "/none", rounds=2)
            assert {response.status for response in responses} == {404}
            first_end = max(response.ended for response in responses if response.round == 0)
            assert first_end <= min(
                response.started for response in responses if response.round == 1
            )
        assert server.process.returncode is not None
        wait_for(lambda: not listens(server.port))  # What is killed is gone a moment later.
        assert not server.log_path.exists()

    @one_a_program
    def test_broken_application(self, name, tmp_path):
        """An application that cannot start is an error that says why."""
        (tmp_path / "app.py").write_text("def create_app():\n    raise RuntimeError('boom')\n")
        with pytest.raises(ServerFailed, match="boom"), serve(name, cwd=tmp_path):
            pass

    @pytest.mark.parametrize("name", ["gunicorn-sync", "granian"], indirect=True)
    @pytest.mark.skipif(sys.platform != "linux", reason="needs prctl")
    def test_ends_with_its_parent(self, name, app):
        """A server outlives nobody: it ends when its parent is killed."""
        code = (
            "import os, sys; from race.servers.serve import serve\n"
            "with serve(sys.argv[1], cwd=sys.argv[2]) as server:\n"
            "    print(server.port, server.log_path, flush=True); os.kill(os.getpid(), 9)"
        )
        run = [sys.executable, "-c", code, name, str(app)]
        parent = subprocess.run(run, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        assert parent.returncode == -signal.SIGKILL
        port, log_path = parent.stdout.split()
        Path(log_path).unlink()
        wait_for(lambda: not listens(int(port)))

    def test_ignores_sigterm(self, app, monkeypatch):
        """A server that does not end by itself is killed."""
        monkeypatch.setattr(processes, "STOP_SECONDS", 0.1)
        with (app / "app.py").open("a") as code:
            code.write("import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n")
        with serve("flask-threaded", cwd=app) as server:
            pass
        assert server.process.returncode == -signal.SIGKILL

    def test_no_response(self, tmp_path):
        """A server that does not come up in time is an error, and is stopped."""
        (tmp_path / "app.py").write_text("import time\ntime.sleep(60)\n")
        with pytest.raises(ServerFailed, match="no response"):
            with serve("flask-threaded", cwd=tmp_path, timeout=0.1):
                pass


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_while_it_starts(number, monkeypatch, tmp_path):
    """A signal that comes while a process is being started stops that process as well."""
    started = []

    class Interrupted(subprocess.Popen):
        def __init__(self, *args, **options):
            super().__init__(*args, **options)
            started.append(self)
            signal.raise_signal(number)

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(subprocess, "Popen", Interrupted)
    before = {one: signal.signal(one, interrupt) for one in (signal.SIGINT, signal.SIGTERM)}
    try:
        with (tmp_path / "log").open("wb") as log, pytest.raises(KeyboardInterrupt):
            with processes.running(["sleep", "60"], log):
                pass
        assert signal.getsignal(number) is interrupt
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
    [process] = started
    assert process.returncode == -signal.SIGTERM


def test_missing(monkeypatch):
    """A server whose package is not installed names it; one that does not exist is a mistake."""
    monkeypatch.setattr(recipes, "find_spec", lambda package: package != "gevent" or None)
    assert missing("gunicorn-sync") is None
    assert missing("gunicorn-gevent") == "gevent"
    assert missing("gunicorn-sync", "/bin/false") == "gunicorn"  # what another Python has counts
    with pytest.raises(ModuleNotFoundError, match="gevent"), serve("gunicorn-gevent"):
        pass
    with pytest.raises(KeyError):
        missing("apache")


def test_settings_of_the_shell_stay_outside(monkeypatch):
    """What a developer has set for Flask or a server does not reach the one under test."""
    monkeypatch.setenv("FLASK_CACHE_TYPE", "redis")
    monkeypatch.setenv("GUNICORN_CMD_ARGS", "--workers 1")
    monkeypatch.setenv("TZ", "UTC")
    environment = servers._environment({"FLASK_CACHE_TYPE": "lmdb"})
    assert environment["FLASK_CACHE_TYPE"] == "lmdb"
    assert environment["TZ"] == "UTC"
    assert "GUNICORN_CMD_ARGS" not in environment


def test_reserved_port():
    """A reserved port is given to nobody who asks for any port, and a server can still bind it."""
    with reserved_port() as port, socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind((HOST, 0))
        assert other.getsockname()[1] != port
        with socket.create_server((HOST, port)):
            assert listens(port)
