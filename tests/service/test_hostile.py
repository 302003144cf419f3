"""Clients that mean no good, or whose network does not, beside ordinary ones on a real server."""

from __future__ import annotations

import json
import os
import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest
from raw_requests import (
    BROKEN_OFF,
    CHUNKED,
    HANGING,
    HEAD,
    POST,
    PUT,
    RUBBISH,
    connect,
    listing,
    names,
    nothing_changed,
    others_are_served,
    put,
    received,
    started,
    talk,
)
from served import SECONDS, ask

import app as service

pytestmark = pytest.mark.slow

# Many more than the two workers have threads.
CROWD = 20


@pytest.fixture(scope="module")
def patient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a server with two workers of one thread, which cuts nobody off."""
    directory = tmp_path_factory.mktemp("patient")
    for port in started(directory, BODY_TIMEOUT="3600", HEADER_TIMEOUT="3600"):
        large = json.dumps({"value": "x" * 1_000_000}).encode()
        assert talk(port, put("large", large)).startswith(b"HTTP/1.1 201 ")
        yield port


@pytest.mark.parametrize("sent", HANGING.values(), ids=HANGING.keys())
def test_clients_that_hang_keep_nobody_waiting(patient: int, sent: bytes) -> None:
    """As many as you like may send a part of a request and then nothing, and leave at last."""
    with nothing_changed(patient):
        with ExitStack() as stack:
            for _ in range(CROWD):
                stack.enter_context(connect(patient)).sendall(sent)
            others_are_served(patient)
        assert ask(patient, "GET", "/health/live")[0] == 200


def test_clients_that_drip_keep_nobody_waiting(patient: int) -> None:
    """Nor do clients whose body comes byte by byte, for as long as they like."""
    over = threading.Event()

    def drip() -> None:
        with connect(patient) as client:
            client.sendall(PUT + b"Content-Length: 1000000\r\n\r\n")
            while not over.wait(0.01):
                client.sendall(b" ")

    with nothing_changed(patient), crowd(drip, over):
        others_are_served(patient)


def test_clients_that_do_not_read_keep_nobody_waiting(patient: int) -> None:
    """Nor do clients that ask for a hundred megabytes and leave them where they are."""
    asked = b"GET /v1/values/large HTTP/1.1\r\n" + HEAD + b"\r\n"
    with nothing_changed(patient), ExitStack() as stack:
        for _ in range(CROWD):
            stack.enter_context(connect(patient)).sendall(asked * 100)
        others_are_served(patient)


def test_a_client_that_reads_slowly_gets_it_all(patient: int) -> None:
    """A large answer that is read in small pieces, with others served in between, is whole."""
    with connect(patient) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 15)
        client.sendall(b"GET /v1/values/large HTTP/1.1\r\n" + HEAD + b"Connection: close\r\n\r\n")
        first = client.recv(100)
        others_are_served(patient)
        whole = first + b"".join(received(client))
    assert json.loads(whole.partition(b"\r\n\r\n")[2])["value"] == "x" * 1_000_000


def test_endless_bodies_end(patient: int) -> None:
    """Bodies in chunks that never stop are cut off at MAX_CONTENT_LENGTH, and others are served."""
    over = threading.Event()
    cut_off: list[bool] = []

    def flood() -> None:
        with connect(patient) as client:
            client.sendall(PUT + CHUNKED)
            chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
            try:
                while not over.is_set():
                    client.sendall(chunk)
            except (BrokenPipeError, ConnectionResetError):
                cut_off.append(True)

    with nothing_changed(patient), crowd(flood, over, size=4, ends_itself=True):
        others_are_served(patient)
    assert len(cut_off) == 4


@contextmanager
def crowd(
    work: Callable[[], None], over: threading.Event, size: int = 20, ends_itself: bool = False
) -> Iterator[None]:
    """Threads that do this work, until they are told or, by themselves, within the deadline."""
    members = [threading.Thread(target=work) for _ in range(size)]
    for member in members:
        member.start()
    try:
        yield
        if ends_itself:
            for member in members:
                member.join(SECONDS)
    finally:
        over.set()
        for member in members:
            member.join()


@pytest.mark.parametrize(("sent", "status"), RUBBISH.values(), ids=RUBBISH.keys())
def test_rubbish_is_refused(patient: int, sent: bytes, status: bytes) -> None:
    """The answer to what is no request has the right status, and nothing changes."""
    with nothing_changed(patient):
        response = talk(patient, sent)
        # It may be lost if the server hangs up on what it has not read.
        is_lost = response == b"" and len(sent) > 60_000
        assert is_lost or response.startswith(b"HTTP/1.1 " + status + b" ")
        others_are_served(patient)


def test_rubbish_behind_a_request_is_refused_by_itself(patient: int) -> None:
    """The request before it is done once and answered, and what follows is 400."""
    key = f"ordinary-{next(names)}".encode()
    whole = POST.replace(b"hostile", key) + b"Content-Length: 2\r\n\r\n{}"
    responses = talk(patient, whole + whole + b"rubbish\r\n\r\n" + whole, ends=True)
    assert [line for line in responses.split(b"\r\n") if b"HTTP/1.1" in line] == [
        b"HTTP/1.1 200 OK",
        b'{"key":"%s","value":1}HTTP/1.1 200 OK' % key,
        b'{"key":"%s","value":2}HTTP/1.1 400 Bad Request' % key,
    ]


def test_random_bytes_do_no_harm(patient: int) -> None:
    """Whatever comes, from many at once, the server goes on and nothing changes."""
    with nothing_changed(patient):
        for _ in range(CROWD):
            talk(patient, os.urandom(2000) + b"\r\n\r\n", ends=True)
        others_are_served(patient)


@pytest.mark.parametrize("sent", BROKEN_OFF.values(), ids=BROKEN_OFF.keys())
def test_what_broke_off_is_not_done(patient: int, sent: bytes) -> None:
    """A client that ends in the middle of a request changes nothing, and is told if it listens."""
    with nothing_changed(patient):
        response = talk(patient, sent, ends=True)
        assert response == b"" or response.startswith(b"HTTP/1.1 400 ")
        assert response or b"\r\n\r\n" not in sent


def test_bodies_in_pieces_are_whole(patient: int) -> None:
    """In one, in several and in chunks."""
    for sent in (
        [PUT + b'Content-Length: 12\r\n\r\n{"value": 1}'],
        [PUT + b"Content-Length: 12\r\n\r\n", b'{"value"', b": 1}"],
        [PUT + CHUNKED, b'4\r\n{"va\r\n', b'8\r\nlue": 1}\r\n', b"0\r\n\r\n"],
    ):
        with connect(patient) as client:
            for part in sent:
                client.sendall(part)
            assert client.recv(1000).startswith((b"HTTP/1.1 201 ", b"HTTP/1.1 200 "))
    assert ask(patient, "DELETE", "/v1/values/hostile")[0] == 204


def test_odd_requests_are_understood(patient: int) -> None:
    """Headers twice, not ASCII or with an underscore, HTTP/1.0, and raw UTF-8 in the path."""
    get = b"GET /v1/values/large HTTP/1.1\r\nConnection: close\r\n" + HEAD
    etag = listing(patient)["large"].encode()
    twice = talk(patient, get + b'If-None-Match: "a"\r\nIf-None-Match: ' + etag + b"\r\n\r\n")
    assert twice.startswith(b"HTTP/1.1 304 ")
    umlaut = talk(patient, get + "If-None-Match: ü\r\n\r\n".encode())
    assert umlaut.startswith(b"HTTP/1.1 400 ")  # left out, it would be another request
    underscore = talk(patient, get + b"If_None_Match: " + etag + b"\r\n\r\n")
    assert underscore.startswith(b"HTTP/1.1 200 ")
    assert talk(patient, b"GET /v1/values/large HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.0 200 ")
    raw = talk(patient, get.replace(b"large", "ü".encode()) + b"\r\n")
    assert raw.startswith(b"HTTP/1.1 404 ") and "'ü'".encode() in raw


def test_queries_that_are_not_ascii_are_read_or_refused(patient: int) -> None:
    """On every route: raw UTF-8 is what its escapes would be, and other bytes are 400."""
    head = b" HTTP/1.1\r\nConnection: close\r\n" + HEAD + b"\r\n"
    rules = service.create_app({"CACHE_TYPE": "simple"}).url_map.iter_rules()
    asked = {
        (method.encode(), re.sub("<.*>", "page.css", rule.rule).encode())
        for rule in rules
        for method in rule.methods or ()
    }
    for method, path in sorted(asked):
        umlaut = talk(patient, method + b" " + path + "?日".encode() + head)
        assert re.match(rb"HTTP/1.1 [234]", umlaut), (method, path, umlaut)
        broken = talk(patient, method + b" " + path + b"?x=\xe9" + head)
        assert broken.startswith(b"HTTP/1.1 400 "), (method, path)
    assert talk(patient, put("über", b'{"value": 1}')).startswith(b"HTTP/1.1 201 ")
    raw = talk(patient, "GET /v1/values?prefix=ü".encode() + head)
    assert json.loads(raw.partition(b"\r\n\r\n")[2])["items"][0]["key"] == "über"
    assert ask(patient, "DELETE", "/v1/values/%C3%BCber")[0] == 204
