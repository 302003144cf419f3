"""Real WSGI servers (see `race.servers.recipes`), started as processes of their own on a free port.

::

    with serve("gunicorn-sync", cwd=root, env={"FLASK_CACHE_TYPE": "lmdb"}) as server:
        responses = rush(server.host, server.port, "POST", "/v1/counters/hits")
"""

from __future__ import annotations

import http.client
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .processes import HOST, reserved_port, running
from .recipes import command, missing

PROBE_SECONDS = 2.0


class ServerFailed(RuntimeError):
    """A server ended, or did not respond in time; the message has the end of its log."""


@dataclass(frozen=True)
class Server:
    """A running server and where to reach it. `log_path` is gone once it is stopped."""

    name: str
    host: str
    port: int
    process: subprocess.Popen[bytes]
    log_path: Path

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    def log(self, lines: int = 120) -> str:
        """The last lines of what the server has printed, some tracebacks long."""
        return "\n".join(self.log_path.read_text(errors="replace").splitlines()[-lines:])


@contextmanager
def serve(
    name: str,
    target: str = "app:create_app()",
    *,
    env: Mapping[str, str] | None = None,
    cwd: str | os.PathLike[str] | None = None,
    timeout: float = 30,
    patience: float | None = None,
    python: str = sys.executable,
) -> Iterator[Server]:
    """A server that serves requests, stopped with all its processes at the end of the block.

    It also stops when the thread that started it, or its whole process, dies (Linux).

    :param name: one of `race.servers.recipes.SERVERS`.
    :param target: "module:factory", importable from `cwd`; a "()" at its end changes nothing.
    :param env: added to the environment. Settings of Flask and of the servers that the present
        environment holds are not passed on.
    :param timeout: seconds the server may take until it responds.
    :param patience: seconds it has to end by itself, see `race.servers.processes.running`.
    :param python: the Python that starts it.
    :raises ModuleNotFoundError: a package is not installed, see `missing`.
    :raises ServerFailed: it ended at once or did not respond in time.
    """
    if package := missing(name, python):
        raise ModuleNotFoundError(f"{name} needs: pip install {package}", name=package)
    with (
        reserved_port() as port,
        tempfile.NamedTemporaryFile(prefix=f"{name}-") as log,
        running(
            command(name, target, HOST, port, python),
            log,
            cwd=cwd,
            env=_environment(env or {}),
            patience=patience,
        ) as process,
    ):
        server = Server(name, HOST, port, process, Path(log.name))
        _wait_until_it_responds(server, timeout)
        yield server


def _environment(extra: Mapping[str, str]) -> dict[str, str]:
    foreign = ("FLASK_", "GRANIAN_", "GUNICORN_", "UWSGI_", "WERKZEUG_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    return kept | {"FLASK_SKIP_DOTENV": "1"} | dict(extra)


def _wait_until_it_responds(server: Server, timeout: float) -> None:
    """An accepted connection says too little: gunicorn accepts before its workers have the app."""
    deadline = time.monotonic() + timeout
    while not _responds(server):
        status = server.process.poll()
        if status is not None:
            raise ServerFailed(f"{server.name} ended with status {status}:\n{server.log()}")
        if time.monotonic() > deadline:
            raise ServerFailed(f"{server.name} gave no response in {timeout} s:\n{server.log()}")
        time.sleep(0.02)


def _responds(server: Server) -> bool:
    """Whether a request gets a response, of any status. Its path belongs to no application."""
    connection = http.client.HTTPConnection(server.host, server.port, timeout=PROBE_SECONDS)
    try:
        connection.request("GET", "/.race", headers={"Connection": "close"})
        connection.getresponse().read()
        return True
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
