"""``python app.py`` as a process, and requests to it."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

ROOT = Path(__file__).parents[2]

# Guards against a hang, and nothing else.
SECONDS = 60


def free_port() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as probe:
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def reserved(port: int) -> Iterator[None]:
    """The kernel gives a port to nobody else; see `race.servers.processes.reserved_port`."""
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        holder.bind(("127.0.0.1", port))
        yield


def command(*arguments: str) -> list[str]:
    return [sys.executable, "app.py", *arguments]


def environment(**settings: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FLASK_")}
    return kept | {f"FLASK_{name}": value for name, value in settings.items()}


@contextmanager
def serving(port: int, *arguments: str, **settings: str) -> Iterator[subprocess.Popen[str]]:
    """``python app.py`` from its first lines on; killed if it is still there at the end."""
    with reserved(port):
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
    for _ in range(100 * SECONDS):
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)) as connection:
            try:
                connection.connect()
            except ConnectionRefusedError:
                threading.Event().wait(0.01)
                continue
            connection.request(method, path)
            response = connection.getresponse()
            return response.status, response.read()
    raise AssertionError("the server does not listen")


def wait_for(condition: Callable[[], object]) -> None:
    """Return once a condition holds, which may fail while a process or a connection goes."""
    for _ in range(100 * SECONDS):
        with suppress(OSError):
            if condition():
                return
        threading.Event().wait(0.01)
    raise AssertionError("it did not come to that")


def wait_until_read(port: int, requests: int = 1) -> None:
    """Return once so many requests are all that a server has, and nothing of them is unread."""
    end = f":{port:04X}"

    def is_read() -> bool:
        rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        established = [row for row in rows if row[1].endswith(end) and row[3] == "01"]
        unread = [row for row in established if not row[4].endswith(":00000000")]
        return len(established) == requests and not unread

    wait_for(is_read)
