"""Where a manager is: at a socket of this host, where it is started if need be, or elsewhere."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from abc import ABC, abstractmethod
from pathlib import Path

from ...errors import ConfigurationError, StoreUnavailable
from ..base import Scope
from ..support.directory import make_private
from ..support.file_lock import FileLock
from .client import Connection, NotRunning
from .server import beside, is_supervised

START_SECONDS = 10.0

# What the kernels have room for, in the narrowest of them.
_PATH_BYTES = 103

# The package without its __init__, which imports Flask: a tenth of the time and of the memory.
_PROGRAM = """
import sys, types
from pathlib import Path
package = sys.modules["sharedstate"] = types.ModuleType("sharedstate")
package.__path__ = [sys.argv[1]]
from sharedstate.stores.manager.server import run_detached
run_detached(Path(sys.argv[2]), int(sys.argv[3]))
"""


class Endpoint(ABC):
    """Connects to a manager."""

    scope: Scope

    @abstractmethod
    def connect(self, timeout: float) -> Connection:
        """A new connection.

        :param timeout: in seconds, for connecting and for each request.
        :raises OSError: as :class:`Connection` does.
        :raises StoreUnavailable: if a manager had to be started, and could not be.
        :raises ConfigurationError: if the address cannot be used.
        """

    @abstractmethod
    def location(self) -> str:
        """The address, for people, without the authkey."""

    def after_fork_in_child(self) -> None:  # noqa: B027  # most endpoints have nothing to do
        """Give up what the parent was doing."""


class Remote(Endpoint):
    """A manager at a host and port, which a supervisor runs."""

    scope: Scope = "network"

    def __init__(self, host: str, port: int, authkey: bytes) -> None:
        self.address = (host, port)
        self.authkey = authkey

    def connect(self, timeout: float) -> Connection:
        return Connection(self.address, lambda: self.authkey, timeout)

    def location(self) -> str:
        host, port = self.address
        return f"manager://[{host}]:{port}" if ":" in host else f"manager://{host}:{port}"


class Local(Endpoint):
    """A manager at a socket, which the first client that finds none there starts.

    It is a process of its own: it has no parent, terminal or directory, and nothing of the one
    that started it is open in it. The operation that starts it may take longer than any other, up
    to ``START_SECONDS``.
    """

    scope: Scope = "host"

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
        def authkey() -> bytes:
            try:
                return beside(path, "key").read_bytes()
            except OSError as error:
                raise StoreUnavailable(
                    f"the manager at {path} has lost its authkey: {error}"
                ) from error

        return Connection(path, authkey, timeout)

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
        package = str(Path(__file__).parents[2])
        program = [_python(), "-I", "-S", "-c", _PROGRAM]
        with open(beside(path, "log"), "ab", opener=_private) as log:
            process = subprocess.Popen(
                [*program, package, str(path), str(self._max_bytes)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                start_new_session=True,
            )
            try:
                process.wait(START_SECONDS)
            except BaseException as error:
                process.kill()
                process.wait()
                if isinstance(error, subprocess.TimeoutExpired):
                    raise StoreUnavailable(
                        f"the manager at {path} did not start within {START_SECONDS:g} seconds"
                    ) from error
                raise
        if process.returncode:
            raise StoreUnavailable(
                f"the manager at {path} could not be started: see {beside(path, 'log')}"
            )


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
