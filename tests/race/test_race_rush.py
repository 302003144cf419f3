"""The proof's clients, each of which sends once."""

from __future__ import annotations

import http.client
import select
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from race.clients import rush as clients
from race.clients.rush import WORKER_HEADER, Response, _ensure_open, cookie_header, rush
from race.servers.processes import HOST, reserved_port

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
