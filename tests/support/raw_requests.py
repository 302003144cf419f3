"""Requests byte by byte, those that are broken off or are none, and what they must not change."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any

from served import SECONDS, ask, free_port, serving

from race.clients.rush import rush

HEAD = b"Host: localhost\r\nContent-Type: application/json\r\n"
PUT = b"PUT /v1/values/hostile HTTP/1.1\r\n" + HEAD
POST = b"POST /v1/counters/hostile HTTP/1.1\r\n" + HEAD
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"


def put(key: str, body: bytes) -> bytes:
    head = f"PUT /v1/values/{key} HTTP/1.1\r\nContent-Length: {len(body)}\r\nConnection: close\r\n"
    return head.encode() + HEAD + b"\r\n" + body


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=SECONDS)


def talk(port: int, *sent: bytes, ends: bool = False) -> bytes:
    """All that a server returns until it closes the connection.

    :param ends: let it know that nothing more will come.
    """
    assert ask(port, "GET", "/health/live")[0] == 200
    with connect(port) as client:
        for part in sent:
            try:
                client.sendall(part)
            except (BrokenPipeError, ConnectionResetError):
                break  # It has heard enough.
        if ends:
            with suppress(OSError):  # It has hung up.
                client.shutdown(socket.SHUT_WR)
        return b"".join(received(client))


def received(client: socket.socket) -> Iterator[bytes]:
    try:
        while part := client.recv(1 << 16):
            yield part
    except ConnectionResetError:
        return


HANGING = {
    "nothing": b"",
    "half a request line": b"POST /v1/coun",
    "half of the headers": PUT + b"X-Slow: ",
    "no body": POST + b"Content-Length: 10\r\n\r\n",
    "ten bytes of a million": PUT + b"Content-Length: 1000000\r\n\r\n" + b'{"value": ',
    "valid JSON of a longer body": POST + b"Content-Length: 100\r\n\r\n{}",
    "no chunk": POST + CHUNKED,
    "half a chunk": PUT + CHUNKED + b"ffff\r\n" + b'{"value": 1',
    "no last chunk": PUT + CHUNKED + b"c\r\n" + b'{"value": 1}' + b"\r\n",
    "half a body of a request without one": b"GET /v1/values/large HTTP/1.1\r\n"
    + HEAD
    + b"Content-Length: 10\r\n\r\n{",
    "half a request after a whole one": POST.replace(b"POST", b"GET") + b"\r\n" + PUT[:20],
}

RUBBISH = {
    "no HTTP": (b"rubbish\r\n\r\n", b"400"),
    "a TLS hello": (
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(256)) * 2,
        b"400",
    ),
    "zeros": (bytes(100_000), b"400"),
    "a version of its own": (b"GET / HTTP/9.9\r\n\r\n", b"400"),
    "10,000 header lines": (PUT + b"a: b\r\n" * 10_000 + b"\r\n", b"431"),
    "a header of a megabyte": (PUT + b"a: " + b"b" * 1_000_000 + b"\r\n\r\n", b"431"),
    "a path of 70,000 bytes": (b"GET /v1/values/" + b"x" * 70_000 + b" HTTP/1.1\r\n\r\n", b"414"),
    "a negative length": (POST + b"Content-Length: -1\r\n\r\n{}", b"400"),
    "a length that is none": (POST + b"Content-Length: ten\r\n\r\n{}", b"400"),
    "two lengths": (POST + b"Content-Length: 2\r\nContent-Length: 20\r\n\r\n{}", b"400"),
    "a huge length": (POST + b"Content-Length: 99999999999\r\n\r\n{}", b"413"),
    "a length beyond 64 bits": (POST + b"Content-Length: 99999999999999999999\r\n\r\n{}", b"400"),
    "a chunk of no size": (POST + CHUNKED + b"ten\r\n{}\r\n0\r\n\r\n", b"400"),
    "too much in chunks": (
        PUT + CHUNKED + b'c\r\n{"value": 1}\r\n' + (b"ffff\r\n" + b" " * 0xFFFF + b"\r\n") * 20,
        b"413",
    ),
    "too much with a length": (PUT + b"Content-Length: 2000000\r\n\r\n" + b" " * 2_000_000, b"413"),
    "a path that is no UTF-8": (
        PUT.replace(b"hostile", b"%FF") + b"Connection: close\r\n\r\n",
        b"400",
    ),
}

# Those that begin to change something.
BROKEN_OFF = {name: sent for name, sent in HANGING.items() if sent.startswith((PUT, POST))}


def started(directory: Path, **settings: str) -> Iterator[int]:
    port = free_port()
    with serving(port, "--workers", "2", CACHE_DIR=str(directory), **settings):
        yield port


names = count()


def listing(port: int) -> Any:
    items = json.loads(ask(port, "GET", "/v1/values?limit=1000")[1])["items"]
    return {item["key"]: item["etag"] for item in items if not item["key"].startswith("ordinary-")}


@contextmanager
def nothing_changed(port: int) -> Iterator[None]:
    before = listing(port)
    yield
    assert listing(port) == before


def others_are_served(port: int) -> None:
    """Ordinary clients, all at once, get the numbers from 1 on, and what they have stored."""
    path = f"/v1/counters/ordinary-{next(names)}"
    crowd = {"clients": 8, "timeout": SECONDS}
    counted = rush("127.0.0.1", port, "POST", path, rounds=4, **crowd)
    assert [response.error for response in counted if response.error] == []
    assert sorted(json.loads(response.body)["value"] for response in counted) == list(range(1, 33))
    path, body = f"/v1/values/ordinary-{next(names)}", b'{"value": [1]}'
    headers = {"Content-Type": "application/json"}
    stored = rush("127.0.0.1", port, "PUT", path, rounds=2, body=body, headers=headers, **crowd)
    assert {response.status for response in stored} <= {200, 201}
