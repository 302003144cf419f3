"""One server of a store: killed, stopped and started again with what it has kept."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from race.servers.processes import HOST, running
from race.servers.recipes import find_program

SECONDS = 60  # Guards against a hang, and nothing else.
PATIENCE = 0.1


class Missing(Exception):
    """A program is not installed."""


class Node:
    """A server as a process, with its log beside it.

    :param command: with its whole path.
    :param is_ready: whether it responds; it is asked until it does.
    """

    def __init__(
        self, name: str, command: Sequence[str], log: Path, is_ready: Callable[[], bool]
    ) -> None:
        self.name = name
        self._command = command
        self._log = log
        self._is_ready = is_ready
        self._stack = ExitStack()
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and return when it responds."""
        with self._log.open("ab") as log:
            self._process = self._stack.enter_context(
                running(self._command, log, env=os.environ, patience=PATIENCE)
            )
        wait_until(self._is_ready, self._process, self._log)

    def kill(self) -> None:
        """`kill -9`."""
        self.signal(signal.SIGKILL)
        self.close()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the server's processes."""
        assert self._process is not None
        os.killpg(self._process.pid, number)

    def close(self) -> None:
        self._stack.close()


def program(*names: str) -> str:
    """The path of the first of these programs that is installed.

    :raises Missing: if none of them is.
    """
    found = next(filter(None, map(find_program, names)), None)
    if found is None:
        raise Missing(f"{names[0]} is not installed")
    return str(found)


def listens(port: int) -> bool:
    """Whether somebody accepts connections at a port of this host."""
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0


def wait_until(
    is_so: Callable[[], bool],
    process: subprocess.Popen[bytes] | None = None,
    log: Path | None = None,
) -> None:
    """Ask until something is so.

    :raises RuntimeError: it never was, or the process ended.
    """
    for _ in range(SECONDS * 50):
        if is_so():
            return
        if process is not None and process.poll() is not None:
            break
        threading.Event().wait(0.02)
    what = log.read_text(errors="replace")[-2000:] if log else "it took too long"
    raise RuntimeError(f"a server did not become ready: {what}")
