"""``python app.py`` as a process, and requests to it."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]


def free_port() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as probe:
        port: int = probe.getsockname()[1]
        return port


def command(*arguments: str) -> list[str]:
    return [sys.executable, "app.py", *arguments]


def environment(**settings: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FLASK_")}
    return kept | {f"FLASK_{name}": value for name, value in settings.items()}


@contextmanager
def serving(port: int, *arguments: str, **settings: str) -> Iterator[subprocess.Popen[str]]:
    """``python app.py`` from its first lines on; killed if it is still there at the end."""
    process = subprocess.Popen(
        command("--port", str(port), *arguments),
        cwd=ROOT,
        env=environment(**settings),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        assert process.stdout
        process.stdout.close()


def ask(port: int, method: str, path: str) -> tuple[int, bytes]:
    """One request, tried until the server listens."""
    for _ in range(2000):
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
            try:
                connection.connect()
            except ConnectionRefusedError:
                threading.Event().wait(0.01)
                continue
            connection.request(method, path)
            answer = connection.getresponse()
            return answer.status, answer.read()
    raise AssertionError("the server does not listen")
