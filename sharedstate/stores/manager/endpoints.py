"""Where a manager is: at a socket of this host, where it is started if need be, or elsewhere."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import ClassVar

from ...errors import ConfigurationError, StoreUnavailable
from ..base import Scope
from ..support.directory import make_private
from ..support.file_lock import FileLock
from .client import Connection, NotRunning
from .protocol import msgspec
from .server import beside, is_supervised

START_SECONDS = 10.0

# What the kernels have room for, in the narrowest of them.
_PATH_BYTES = 103

# The package without its __init__, which imports Flask: a fraction of the time and of the memory.
# msgspec is found where this process has it, after the standard library.
_PROGRAM = """
import sys, types
from pathlib import Path
sys.path.append(sys.argv[2])
package = sys.modules["sharedstate"] = types.ModuleType("sharedstate")
package.__path__ = [sys.argv[1]]
from sharedstate.stores.manager.server import run_detached
run_detached(Path(sys.argv[3]), int(sys.argv[4]))
"""


class Remote:
    """A manager at a host and port, which a supervisor runs."""

    scope: ClassVar[Scope] = "network"

    def __init__(self, host: str, port: int, authkey: bytes) -> None:
        self.address = (host, port)
        self.authkey = authkey

    def connect(self, timeout: float) -> Connection:
        return Connection(self.address, lambda: self.authkey, timeout)

    def location(self) -> str:
        host, port = self.address
        return f"manager://[{host}]:{port}" if ":" in host else f"manager://{host}:{port}"

    def after_fork_in_child(self) -> None:
        """Nothing of the parent's is open."""


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
        self._locks: set[FileLock] = set()

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
        path = self.path
        try:
            return self._connection(path, timeout)
        except NotRunning:
            return self._connection_to_new(path, timeout)

    def location(self) -> str:
        return str(self.path)

    def after_fork_in_child(self) -> None:
        # A copy of the lock file's descriptor would hold the lock for ever if the parent died.
        for lock in self._locks:
            lock.close()
        self._locks.clear()

    def _connection(self, path: Path, timeout: float) -> Connection:
        return Connection(path, partial(_authkey, path), timeout)

    def _connection_to_new(self, path: Path, timeout: float) -> Connection:
        lock = FileLock(beside(path, "starting"))
        self._locks.add(lock)
        try:
            if not lock.acquire(timeout):
                raise StoreUnavailable(f"another process is starting the manager at {path}")
            try:
                return self._connection(path, timeout)  # Somebody has started it meanwhile.
            except NotRunning:
                self._start(path)
                return self._connection(path, timeout)
            finally:
                lock.release()
        finally:
            self._locks.discard(lock)
            lock.close()

    def _start(self, path: Path) -> None:
        if is_supervised(path):
            raise StoreUnavailable(
                f"the manager at {path} is run by a supervisor, which has to start it again; to "
                f"let workers start it instead, remove {beside(path, 'pid')}"
            )
        packages = [Path(__file__).parents[2], Path(msgspec.__file__).parents[1]]
        try:
            with open(beside(path, "log"), "ab", opener=_private) as log:
                started = subprocess.run(
                    [_python(), "-I", "-S", "-c", _PROGRAM, *packages, path, str(self._max_bytes)],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    cwd="/",
                    start_new_session=True,
                    timeout=START_SECONDS,
                )
        except subprocess.TimeoutExpired as error:
            raise StoreUnavailable(
                f"the manager at {path} did not start within {START_SECONDS:g} seconds"
            ) from error
        if started.returncode:
            raise StoreUnavailable(
                f"the manager at {path} could not be started: see {beside(path, 'log')}"
            )


Endpoint = Local | Remote


def _authkey(path: Path) -> bytes:
    try:
        return beside(path, "key").read_bytes()
    except OSError as error:
        raise StoreUnavailable(f"the manager at {path} has lost its authkey: {error}") from error


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _python() -> str:
    """This Python's program; under uWSGI, for one, ``sys.executable`` is another."""
    if Path(sys.executable).name.startswith(("python", "pypy")):
        return sys.executable
    name = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for directory in (sys.exec_prefix, sys.base_exec_prefix):
        found = shutil.which(name, path=f"{directory}/bin")
        if found:
            return found
    raise StoreUnavailable(f"the manager cannot be started: there is no {name} to run it with")
