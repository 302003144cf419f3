"""Clients that send nothing more, on servers that do not wait for ever."""

from __future__ import annotations

import json
import resource
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from raw_requests import (
    BROKEN_OFF,
    HANGING,
    HEAD,
    connect,
    nothing_changed,
    others_are_served,
    received,
    started,
)
from served import SECONDS, ask, free_port, serving, wait_for

pytestmark = pytest.mark.slow

# Many more than the two workers have threads.
CROWD = 20


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of one that wants a body at once."""
    yield from started(tmp_path_factory.mktemp("strict"), BODY_TIMEOUT="0.2")


TOO_SLOW = {name: sent for name, sent in BROKEN_OFF.items() if b"\r\n\r\n" in sent}


def test_a_body_that_does_not_come_in_time_is_408(strict: int) -> None:
    """After BODY_TIMEOUT seconds the client is told and disconnected, and nothing is done."""
    assert ask(strict, "GET", "/health/live")[0] == 200
    with nothing_changed(strict), ExitStack() as stack:
        clients = [stack.enter_context(connect(strict)) for _ in TOO_SLOW]
        for client, sent in zip(clients, TOO_SLOW.values(), strict=True):
            client.sendall(sent)
        for client, name in zip(clients, TOO_SLOW, strict=True):
            head, _, body = b"".join(received(client)).partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 408 "), name
            assert b"content-type: application/problem+json" in head
            assert json.loads(body)["status"] == 408


def test_silent_clients_are_disconnected_in_time(tmp_path: Path) -> None:
    """As many as can connect keep others out for HEADER_TIMEOUT seconds, and not for longer.

    A connection that idles after a request is closed as soon.
    """
    port, (soft, hard) = free_port(), resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < 2048:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 2048), hard))
    with (
        serving(port, "--workers", "2", CACHE_DIR=str(tmp_path), HEADER_TIMEOUT="0.5"),
        ExitStack() as stack,
    ):
        wait_for(lambda: ask(port, "GET", "/health/live")[0] == 200)
        idle = stack.enter_context(connect(port))
        # Less than the 30 s after which Granian itself would do it.
        idle.settimeout(20)
        idle.sendall(b"GET /health/live HTTP/1.1\r\n" + HEAD + b"\r\n")
        silent = [stack.enter_context(connect(port)) for _ in range(1100)]
        with suppress(OSError):  # It has been disconnected already.
            silent[0].sendall(b"GET / HTTP/1.1\r\nX-Slow: ")
        assert b"".join(received(idle)).endswith(b'{"status":"live"}')
        # One that has to wait for the processor before it sends its request is disconnected too.
        wait_for(lambda: ask(port, "GET", "/health/live")[0] == 200)
        for client in silent:
            client.settimeout(20)
            assert b"".join(received(client)) == b""
        wait_for(lambda: ask(port, "POST", "/v1/counters/a")[0] == 200)


# Granian's main process waits for its workers as long as it is told to, but not 5 s.
IN_A_HURRY = """
import granian
init = granian.Granian.__init__
def hurry(*arguments, **options):
    init(*arguments, **options | {"workers_kill_timeout": options["workers_kill_timeout"] and 1})
granian.Granian.__init__ = hurry
"""


def test_clients_that_hang_do_not_keep_it_from_stopping(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With half-sent bodies from many clients, SIGTERM still ends the server."""
    (tmp_path / "sitecustomize.py").write_text(IN_A_HURRY)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    port = free_port()
    with serving(port, "--workers", "2", CACHE_DIR=str(tmp_path)) as process, ExitStack() as stack:
        assert ask(port, "GET", "/health/live")[0] == 200
        for _ in range(CROWD):
            stack.enter_context(connect(port)).sendall(HANGING["no body"])
        others_are_served(port)
        process.terminate()
        assert process.wait(SECONDS) == 0
