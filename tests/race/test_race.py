"""The proof's own tools: clients that send once, and servers that start, fail and stop cleanly."""

from __future__ import annotations

import http.client
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from race.clients import rush as clients
from race.clients.rush import WORKER_HEADER, Response, _ensure_open, cookie_header, rush
from race.servers import processes, recipes
from race.servers import serve as servers
from race.servers.processes import HOST, reserved_port
from race.servers.recipes import SERVERS, missing
from race.servers.serve import ServerFailed, serve

ROOT = Path(__file__).parents[2]
SECONDS = 60  # Guards against a hang, and nothing else.
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
LAST = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"
OLD = b"HTTP/1.0 200 OK\r\n\r\nok"
CUT = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok"
NOTHING = b""
COOKIES = (
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nSet-Cookie: id=7; Path=/; HttpOnly\r\n"
    b"Set-Cookie: seen=a=b\r\n" + WORKER_HEADER.encode() + b": 42\r\n\r\nok"
)


class Peer:
    """A server that sends the responses it is told to, and closes after all but `OK`."""

    def __init__(self, listener: socket.socket, responses: list[bytes]) -> None:
        self.listener = listener
        self.responses = responses
        self.port = listener.getsockname()[1]
        self.connections = 0
        self.requests: list[bytes] = []

    def run(self) -> None:
        while self.responses:
            with self.listener.accept()[0] as connection:
                self.connections += 1
                while self.responses and (request := connection.recv(65536)):
                    self.requests.append(request)
                    response = self.responses.pop(0)
                    connection.sendall(response)
                    if response not in (OK, COOKIES):
                        break

    def rush(self, rounds: int, **options: Any) -> list[Response]:
        return rush(
            HOST, self.port, "POST", "/", clients=1, rounds=rounds, timeout=SECONDS, **options
        )


@contextmanager
def peer(*responses: bytes) -> Iterator[Peer]:
    with socket.create_server((HOST, 0)) as listener:
        peer = Peer(listener, list(responses))
        thread = threading.Thread(target=peer.run, daemon=True)
        thread.start()
        yield peer
        thread.join(SECONDS)


class TestRush:
    def test_keeps_its_connection(self):
        """A client stays on a connection that the server keeps open."""
        with peer(OK, OK, OK) as server:
            responses = server.rush(rounds=3)
        assert [(response.status, response.body) for response in responses] == [(200, b"ok")] * 3
        assert server.connections == 1

    def test_new_connection_each_time(self):
        """With `keep_alive=False` every request has a connection to itself, and says so."""
        with peer(OK, OK, OK) as server:
            responses = server.rush(rounds=3, keep_alive=False)
        assert [response.status for response in responses] == [200] * 3
        assert server.connections == 3
        assert all(b"Connection: close" in request for request in server.requests)

    @pytest.mark.parametrize("response", [LAST, OLD])
    def test_connection_that_ends_with_the_response(self, response):
        """A response that ends its connection is followed by a new one."""
        with peer(response, response) as server:
            responses = server.rush(rounds=2)
        assert [response.status for response in responses] == [200, 200]
        assert server.connections == 2

    def test_connection_that_was_closed_while_idle(self):
        """A connection that the server has closed carries no request any more."""
        with socket.create_server((HOST, 0)) as listener:
            connection = http.client.HTTPConnection(*listener.getsockname())
            connection.connect()
            listener.accept()[0].close()
            first = connection.sock
            select.select([first], [], [], SECONDS)
            _ensure_open(connection)
            assert connection.sock is not first
            second = connection.sock
            _ensure_open(connection)
            assert connection.sock is second
            connection.close()

    @pytest.mark.parametrize("response", [NOTHING, CUT])
    def test_no_response_is_an_error(self, response):
        """A request without a whole response is recorded as such, and never sent again."""
        with peer(response, OK) as server:
            lost, after = server.rush(rounds=2)
        assert (lost.status, lost.body) == (None, b"")
        assert lost.error
        assert lost.started <= lost.ended < after.started
        assert (after.status, after.error) == (200, None)
        assert len(server.requests) == 2

    def test_no_response_on_a_connection_used_before(self):
        """Nor is it sent again when an earlier request on that connection had a response."""
        with peer(OK, NOTHING, OK) as server:
            responses = server.rush(rounds=3)
        assert [response.status for response in responses] == [200, None, 200]
        assert len(server.requests) == 3

    def test_cookies(self):
        """A client sends the cookies that it was given, if it is one that keeps them."""
        with peer(COOKIES, OK) as server:
            first, second = server.rush(rounds=2, cookies=True)
        assert first.cookies == (("id", "7"), ("seen", "a=b"))
        assert second.cookies == ()
        assert b"Cookie" not in server.requests[0]
        assert b"Cookie: id=7; seen=a=b" in server.requests[1]
        assert cookie_header(first.cookies) == "id=7; seen=a=b"
        with peer(COOKIES, OK) as server:
            server.rush(rounds=2)
        assert b"Cookie" not in server.requests[1]

    def test_jars(self):
        """Each client has its own cookies from the beginning."""
        jars = [(("id", "1"),), (("id", "2"),)]
        with peer(LAST, LAST) as server:
            rush(HOST, server.port, "GET", "/", clients=2, rounds=1, jars=jars)
        sent = {line for one in server.requests for line in one.split(b"\r\n") if b"Cookie" in line}
        assert sent == {b"Cookie: id=1", b"Cookie: id=2"}

    def test_connecting_is_not_measured(self, monkeypatch):
        """A request begins when it is sent, however long its connection took."""
        now = [0.0]

        def passes(seconds: float) -> float:
            now[0] += seconds
            return now[0]

        def connect(connection):
            passes(100)
            _ensure_open(connection)

        monkeypatch.setattr(clients, "_ensure_open", connect)
        monkeypatch.setattr(clients, "time", SimpleNamespace(monotonic=lambda: passes(1)))
        with peer(OK, OK) as server:
            first, second = server.rush(rounds=2)
        assert first.started > 200
        assert second.started > first.ended + 200
        assert first.ended - first.started == second.ended - second.started == 1

    def test_worker(self):
        """The response says which process it came from, if the application does."""
        with peer(COOKIES, OK) as server:
            assert [response.worker for response in server.rush(rounds=2)] == ["42", None]

    def test_time_is_over(self):
        """No round begins after the time, but for the first two, and all stop together."""
        with reserved_port() as port:
            responses = rush(HOST, port, "GET", "/", clients=2, rounds=9, seconds=-1)
        turns = [(response.client, response.round) for response in responses]
        assert turns == [(0, 0), (0, 1), (1, 0), (1, 1)]

    def test_no_server(self):
        """A connection that is refused is an error too, and stops nobody."""
        with reserved_port() as port:
            responses = rush(HOST, port, "GET", "/", clients=3, rounds=2)
        assert [(response.client, response.round) for response in responses] == [
            (client, round) for client in range(3) for round in range(2)
        ]
        assert all("ConnectionRefusedError" in (response.error or "") for response in responses)

    def test_no_tls(self):
        """A server that does not speak TLS is an error of each request, and stops nobody."""
        with peer(LAST, LAST, LAST, LAST) as server:
            responses = rush(HOST, server.port, "GET", "/", clients=1, rounds=2, secure=True)
            assert ["SSLError" in (response.error or "") for response in responses] == [True, True]
            while server.responses:
                socket.create_connection((HOST, server.port)).sendall(b"end")

    def test_wrong_use(self):
        """What cannot be sent at all is raised, and no client waits for the others for ever."""
        with reserved_port() as port, socket.create_server((HOST, port)):
            with pytest.raises(ValueError, match="Invalid header"):
                rush(HOST, port, "GET", "/", clients=3, headers={"X": "a\nb"})


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
        assert not listens(server.port)
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
        deadline = time.monotonic() + SECONDS
        while listens(int(port)):
            assert time.monotonic() < deadline
            time.sleep(0.02)

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
