"""Many clients that send their requests at the same moment."""

from __future__ import annotations

import http.client
import math
import select
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field

WORKER_HEADER = "Race-Worker"
LEAST_ROUNDS = 2

Cookies = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Response:
    """What one client saw of one request.

    :param status: None when no complete response came; `error` then says why. Such a request may
        have had its effect all the same.
    :param started: `time.monotonic()` just before the request was sent.
    :param ended: `time.monotonic()` when the whole response was read, or given up.
    """

    client: int
    round: int
    status: int | None
    body: bytes
    started: float
    ended: float
    error: str | None = None
    worker: str | None = None
    """The process that responded, as the header `WORKER_HEADER` says."""
    cookies: Cookies = ()
    """What the client is told to send from now on."""


def rush(
    host: str,
    port: int,
    method: str,
    path: str,
    *,
    clients: int = 100,
    rounds: int = 20,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    timeout: float = 30,
    keep_alive: bool = True,
    cookies: bool = False,
    jars: Sequence[Cookies] = (),
    secure: bool = False,
    seconds: float | None = None,
) -> list[Response]:
    """The responses to `clients` × `rounds` requests, by client and round.

    Every client has a thread and a connection of its own, opened before the round begins. Each
    round starts at one gate for all of them, once all have their responses to the round before::

        client 0   connect ──┐ send ───── response    connect ──┐ send ─── …
        client 1   connect ──┤ send ── response       connect ──┤ send ──── …
        client 2   connect ──┘ send ──────── response connect ──┘ send ── …

    A request is sent exactly once. One that gets no response is recorded with its error, never
    repeated, as it may have had its effect.

    :param timeout: seconds to wait for a connection, and for each part of a response.
    :param keep_alive: reuse a connection as long as the server keeps it open. A server that closes
        it in the very moment of a request leaves that request without a response; False rules this
        out with a new connection for every request.
    :param cookies: every client sends the cookies that it was given, as a browser does.
    :param jars: the cookies that each client has from the beginning, if any has.
    :param secure: speak HTTPS.
    :param seconds: begin no round after that time, but for the first `LEAST_ROUNDS`.
    """
    request = _Request(method, path, body, dict(headers or {}), keep_alive, cookies)
    if not keep_alive:
        request.headers["Connection"] = "close"
    gate = _Gate(clients, seconds)
    speak = http.client.HTTPSConnection if secure else http.client.HTTPConnection

    def play(number: int) -> list[Response]:
        connection = speak(host, port, timeout=timeout)
        connection.auto_open = 0  # never connects, and so never sends, behind our back
        with closing(connection), _aborting(gate):
            jar = dict(jars[number]) if jars else {}
            client = _Client(number, connection, request, gate, jar)
            return list(client.play_rounds(rounds))

    with ThreadPoolExecutor(clients) as pool, _aborting(gate):
        playing = [pool.submit(play, number) for number in range(clients)]
        wait(playing)
    return [response for responses in _results(playing) for response in responses]


@dataclass(frozen=True)
class _Request:
    method: str
    path: str
    body: bytes | None
    headers: dict[str, str]
    keep_alive: bool
    cookies: bool


class _Gate(threading.Barrier):
    """Opens for all clients at once, as long as there is time.

    :param seconds: after which `is_closing` tells all of them alike that this was the last time.
    """

    def __init__(self, clients: int, seconds: float | None) -> None:
        super().__init__(clients, action=self._look_at_the_time)
        self._end = math.inf if seconds is None else time.monotonic() + seconds
        self.is_closing = False

    def _look_at_the_time(self) -> None:
        self.is_closing = time.monotonic() > self._end


@dataclass(frozen=True)
class _Client:
    number: int
    connection: http.client.HTTPConnection
    request: _Request
    gate: _Gate
    jar: dict[str, str] = field(default_factory=dict)

    def play_rounds(self, rounds: int) -> Iterator[Response]:
        for round in range(rounds):
            with suppress(OSError):  # the attempt after the gate reports it
                _ensure_open(self.connection)
            self.gate.wait()
            if self.gate.is_closing and round >= LEAST_ROUNDS:
                return
            yield self._play(round)

    def _play(self, round: int) -> Response:
        started = time.monotonic()
        try:
            _ensure_open(self.connection)
            started = time.monotonic()
            response, body = self._exchange()
        except (OSError, http.client.HTTPException) as error:
            ended = time.monotonic()
            self.connection.close()
            reason = f"{type(error).__name__}: {error}"
            return Response(self.number, round, None, b"", started, ended, reason)
        ended = time.monotonic()
        given = _cookies(response)
        if self.request.cookies:
            self.jar.update(given)
        worker = response.headers[WORKER_HEADER]
        return Response(
            self.number, round, response.status, body, started, ended, None, worker, given
        )

    def _exchange(self) -> tuple[http.client.HTTPResponse, bytes]:
        request = self.request
        headers = request.headers
        if self.jar:
            headers = headers | {"Cookie": cookie_header(self.jar.items())}
        self.connection.request(request.method, request.path, request.body, headers)
        response = self.connection.getresponse()
        body = response.read()
        if not request.keep_alive:
            self.connection.close()
        return response, body


def cookie_header(cookies: Iterable[tuple[str, str]]) -> str:
    """The value of the header that sends cookies back."""
    return "; ".join(f"{name}={value}" for name, value in cookies)


def _cookies(response: http.client.HTTPResponse) -> Cookies:
    """Names and values of the cookies that a response sets; what limits their use is ignored."""
    pairs = (line.partition(";")[0] for line in response.headers.get_all("Set-Cookie", ()))
    return tuple(
        (name.strip(), value.strip()) for name, _, value in (p.partition("=") for p in pairs)
    )


def _ensure_open(connection: http.client.HTTPConnection) -> None:
    """Connect unless the connection can carry one more request.

    http.client drops its socket after a response that ends the connection (Connection: close,
    HTTP/1.0). A server that closed an idle connection has made it readable: the end of file waits.
    """
    if connection.sock is not None:
        poll = select.poll()
        poll.register(connection.sock, select.POLLIN)
        if not poll.poll(0):
            return
    connection.close()
    try:
        connection.connect()
    except OSError:
        connection.close()  # without TLS there is still a socket, which is of no use
        raise


@contextmanager
def _aborting(gate: threading.Barrier) -> Iterator[None]:
    """On any error, Ctrl-C included, let nobody wait at the gate for ever."""
    try:
        yield
    except BaseException:
        gate.abort()
        raise


def _results(playing: list[Future[list[Response]]]) -> list[list[Response]]:
    """The results of all clients; raises what stopped the first, not what that did to others."""
    for client in playing:
        error = client.exception()
        if error is not None and not isinstance(error, threading.BrokenBarrierError):
            raise error
    return [client.result() for client in playing]
