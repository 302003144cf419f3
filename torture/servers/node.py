"""One server of a store: killed, stopped and started again with what it has kept."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from glob import glob
from pathlib import Path

from race.servers.processes import HOST, running

SECONDS = 60  # Guards against a hang, and nothing else.
PATIENCE = 0.1
DEBIANS_POSTGRESQL = "/usr/lib/postgresql/*/bin"
TRIES, TRY_SECONDS = 20, 0.2


class Missing(Exception):
    """A program is not installed."""


class Node:
    """A server as a process, with its log beside it.

    :param command: with its whole path.
    :param is_ready: whether it responds; it is asked until it does.
    :param env: more variables of its environment.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        log: Path,
        is_ready: Callable[[], bool],
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self._command = command
        self._log = log
        self._is_ready = is_ready
        self._env = os.environ | (env or {})
        self._stack = ExitStack()
        self._process: subprocess.Popen[bytes] | None = None

    def launch(self) -> None:
        """Start it, and do not wait."""
        with self._log.open("ab") as log:
            self._process = self._stack.enter_context(
                running(self._command, log, env=self._env, patience=PATIENCE)
            )

    def start(self) -> None:
        """Start it, and return when it responds.

        One that ends at once is started again: what it left behind when it was killed may not be
        gone yet.
        """
        for _ in range(TRIES):
            self.launch()
            try:
                self.wait()
                return
            except RuntimeError:
                if self._process is None or self._process.poll() is None:
                    raise
            self.close()
            threading.Event().wait(TRY_SECONDS)
        raise RuntimeError(f"{self.name} does not start: {self._end_of_log()}")

    def wait(self) -> None:
        """Return when it responds.

        :raises RuntimeError: if it never does, or has ended.
        """
        wait_until(self._is_ready, self._process)

    def kill(self) -> None:
        """`kill -9`."""
        self.signal(signal.SIGSTOP)  # It starts no more processes.
        self.signal(signal.SIGKILL)
        self.close()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the server's processes."""
        assert self._process is not None
        for pid in [*_children(self._process.pid), self._process.pid]:
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def close(self) -> None:
        self._stack.close()

    def _end_of_log(self) -> str:
        return self._log.read_text(errors="replace")[-1000:]


def _children(pid: int) -> list[int]:
    """The processes that a process has started, as PostgreSQL does for each connection."""
    try:
        return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def program(*names: str) -> str:
    """The path of the first of these programs that is installed.

    :raises Missing: if none of them is.
    """
    places = [os.environ.get("PATH", ""), "/usr/sbin", *sorted(glob(DEBIANS_POSTGRESQL))]
    path = os.pathsep.join(places)
    found = next(filter(None, (shutil.which(name, path=path) for name in names)), None)
    if found is None:
        raise Missing(f"{names[0]} is not installed")
    return found


def listens(port: int) -> bool:
    """Whether somebody accepts connections at a port of this host."""
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0


def wait_until(is_so: Callable[[], bool], process: subprocess.Popen[bytes] | None = None) -> None:
    """Ask until something is so.

    :raises RuntimeError: it never was, or the process ended.
    """
    deadline = time.monotonic() + SECONDS
    while not is_so():
        if process is not None and process.poll() is not None:
            raise RuntimeError("a server ended")
        if time.monotonic() > deadline:
            raise RuntimeError("a server did not become ready")
        threading.Event().wait(0.02)
