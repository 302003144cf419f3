"""Managers at a socket of this host.

Beside its socket ``name`` a manager has the files

``name.key``
    the authkey, made anew by each manager;
``name.pid``
    the number of its process, locked while that lives: at most one serves a socket;
``name.log``
    what goes wrong in one that was started by a worker.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import ClassVar

from ...errors import ConfigurationError, StoreUnavailable
from ..base import Scope
from ..support.directory import make_private
from .client import Connection, NotRunning
from .wire import msgspec

START_SECONDS = 10.0
SUPERVISED = "supervised"

_POLL_SECONDS = 0.02

# What the kernels have room for, in the narrowest of them.
_PATH_BYTES = 103

# The package without its __init__, which imports Flask: a fraction of the time and of the memory.
# msgspec is found where this process has it, after the standard library.
_PROGRAM = """
import sys, types
from pathlib import Path
_, ours, site, path, claim, max_bytes = sys.argv
sys.path.append(site)
package = sys.modules["sharedstate"] = types.ModuleType("sharedstate")
package.__path__ = [ours]
from sharedstate.stores.manager.server import run_detached
run_detached(Path(path), int(claim), int(max_bytes))
"""


class Local:
    """A manager at a socket, which the first client that finds none there starts.

    It is a process of its own: it has no parent, terminal or directory, and nothing of the one
    that started it is open in it. The operation that starts it may take longer than any other, up
    to ``START_SECONDS``.
    """

    scope: ClassVar[Scope] = "host"

    def __init__(self, path: Path, max_bytes: int) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._claims: dict[int, int] = {}

    @property
    def path(self) -> Path:
        """The socket's path, in a directory that is there and private."""
        path = make_private(self._path.parent) / self._path.name
        if len(os.fsencode(path)) > _PATH_BYTES:
            raise ConfigurationError(
                f"the socket {path} has a path of more than {_PATH_BYTES} bytes, which systems "
                "refuse: choose a shorter CACHE_DIR or manager:///path"
            )
        return path

    def connect(self, timeout: float) -> Connection:
        path, deadline = self.path, time.monotonic() + timeout
        is_late = False
        while True:
            try:
                return Connection(path, beside(path, "key").read_bytes, timeout)
            except NotRunning:
                if is_late:
                    raise
            self._start(path)
            is_late = time.monotonic() > deadline
            time.sleep(_POLL_SECONDS)

    def location(self) -> str:
        return str(self.path)

    def _start(self, path: Path) -> None:
        """Start a manager, unless one serves or ends, or somebody else starts one."""
        for copy, process in list(self._claims.items()):
            if process != os.getpid():  # A fork's copy would keep the lock if the parent died.
                del self._claims[copy]
                os.close(copy)
        claim = claimed(path)
        if claim is None:
            return
        self._claims[claim] = os.getpid()
        try:
            if SUPERVISED in beside(path, "pid").read_text():
                raise StoreUnavailable(
                    f"the manager at {path} is run by a supervisor, which has to start it again; "
                    f"to let workers start it instead, remove {beside(path, 'pid')}"
                )
            self._run(path, claim)
        finally:
            del self._claims[claim]
            os.close(claim)

    def _run(self, path: Path, claim: int) -> None:
        ours, site = Path(__file__).parents[2], Path(msgspec.__file__).parents[1]
        arguments = map(str, (ours, site, path, claim, self._max_bytes))
        log = beside(path, "log")
        try:
            with open(log, "ab", opener=partial(os.open, mode=0o600)) as output:
                subprocess.run(
                    [_python(), "-I", "-S", "-c", _PROGRAM, *arguments],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    cwd="/",
                    start_new_session=True,
                    pass_fds=[claim],
                    timeout=START_SECONDS,
                    check=True,
                )
        except subprocess.SubprocessError as error:
            raise StoreUnavailable(
                f"the manager at {path} did not start within {START_SECONDS:g} seconds: see {log}"
            ) from error


def beside(path: Path, ending: str) -> Path:
    """The file that belongs to the socket."""
    return path.with_name(f"{path.name}.{ending}")


def claimed(path: Path, timeout: float = 0) -> int | None:
    """The pid file with a lock on it, which lasts as long as a process has it open.

    ``None`` if another one, or another thread, has the lock for so long.
    """
    import fcntl  # Where it is missing, there are no sockets with a path either.

    deadline = time.monotonic() + timeout
    claim = os.open(beside(path, "pid"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    while True:
        try:
            fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return claim
        except BlockingIOError:
            if time.monotonic() >= deadline:
                os.close(claim)
                return None
        time.sleep(_POLL_SECONDS)


def _python() -> str:
    """This Python's program; under uWSGI, for one, ``sys.executable`` is another."""
    name = f"python{sys.version_info.major}.{sys.version_info.minor}"
    folders = f"{sys.exec_prefix}/bin{os.pathsep}{sys.base_exec_prefix}/bin"
    return shutil.which(name, path=folders) or sys.executable
