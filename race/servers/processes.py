"""Processes that are surely stopped, and ports that nobody else is given."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import IO

HOST = "127.0.0.1"
STOP_SECONDS = 10.0

# Ends the program when its parent dies, even by SIGKILL. `preexec_fn` could do that too,
# but is unsafe in a process with threads. 1 is PR_SET_PDEATHSIG of prctl(2), 15 is SIGTERM.
_FOLLOW_PARENT = """
import os, sys
if sys.platform == "linux":
    import ctypes
    ctypes.CDLL(None).prctl(1, 15)
os.execvp(sys.argv[1], sys.argv[1:])
"""


@contextmanager
def running(
    command: Sequence[str],
    log: IO[bytes],
    *,
    env: Mapping[str, str] | None = None,
    cwd: str | os.PathLike[str] | None = None,
    patience: float | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    """A process in a group of its own, which ends with the block, and with its parent.

    :param log: where its output and its errors go.
    :param env: its whole environment.
    :param patience: seconds it has to end by itself before it is killed; `STOP_SECONDS` if None.
    """
    process = None
    try:
        with _uninterrupted():
            process = subprocess.Popen(
                [sys.executable, "-c", _FOLLOW_PARENT, *command],
                cwd=cwd,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        yield process
    finally:
        if process is not None:
            with _uninterrupted():
                _stop(process, STOP_SECONDS if patience is None else patience)


@contextmanager
def reserved_port() -> Iterator[int]:
    """A port that the kernel gives to nobody else while the block runs.

    The socket is bound and never listens. So a server may bind the port beside it (it sets
    SO_REUSEADDR; Granian's workers share the port with SO_REUSEPORT), but no other bind and no
    outgoing connection is given it. Systems other than Linux would refuse the server: there the
    port is only free a moment before.
    """
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        holder.bind((HOST, 0))
        port = holder.getsockname()[1]
        if sys.platform != "linux":
            holder.close()
        yield port


def _stop(process: subprocess.Popen[bytes], patience: float) -> None:
    """Let the process end by itself, then end what is left of its group."""
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(patience)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Let Ctrl-C and SIGTERM wait: in the midst of the block they would leave a process behind."""
    if threading.current_thread() is not threading.main_thread():
        yield  # signals interrupt the main thread only
        return
    came: list[int] = []
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, lambda it, _: came.append(it)) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for late in came:
            signal.raise_signal(late)
