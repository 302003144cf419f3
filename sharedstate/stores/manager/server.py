"""The manager's process: ``python -m sharedstate.stores.manager.server ADDRESS``.

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
import secrets
import signal
import socket
import sys
import time
from pathlib import Path

from ...errors import ConfigurationError
from ...settings import GIBIBYTE
from ..memory import MemoryStore
from ..support.directory import Identity, make_private
from .client import Address
from .loop import MAX_CONNECTIONS, Server

AUTHKEY_VARIABLE = "FLASK_CACHE_MANAGER_AUTHKEY"
AUTHKEY_BYTES = 32
SUPERVISED = "supervised"
CLAIM_SECONDS = 1.0

# More than the connections that are accepted at once.
_SPARE_DESCRIPTORS = 64
_ENDING = (signal.SIGTERM, signal.SIGINT)


def run_foreground(
    address: Address, authkey: bytes | None = None, *, max_bytes: int = GIBIBYTE
) -> None:
    """Serve until SIGTERM or SIGINT; for a supervisor, which starts it again if it ends.

    Workers do not start a manager at a socket that a supervisor's has served, so that the two do
    not get in each other's way when it is restarted.

    :param address: the path of a socket, or a host and a port.
    :param authkey: needed for a host and a port; a socket has it in a file.
    :raises ConfigurationError: if another manager serves the address, or it cannot be used.
    """
    if isinstance(address, tuple):
        if not authkey:
            raise ConfigurationError("a manager on the network needs an authkey")
        _server(_network_listener(address), authkey, max_bytes).serve(_ENDING)
        return
    path, claim = _claimed(address)
    try:
        _note_process(claim, f"{os.getpid()} {SUPERVISED}")
        _serve_at(path, _local_server(path, max_bytes))
        _note_process(claim, SUPERVISED)
    finally:
        os.close(claim)


def run_detached(path: Path, max_bytes: int) -> None:
    """Serve in a process of its own; this one ends as soon as clients can connect."""
    os.umask(0o077)
    try:
        path, claim = _claimed(path)
        server = _local_server(path, max_bytes)
    except ConfigurationError as error:
        sys.exit(f"sharedstate: {error}")
    process = os.fork()
    if process:
        _note_process(claim, str(process))
        os._exit(0)
    _serve_at(path, server)
    _note_process(claim, "")


def _serve_at(path: Path, server: Server) -> None:
    if server.serve(_ENDING):
        path.unlink(missing_ok=True)


def beside(path: Path, ending: str) -> Path:
    """The file that belongs to the socket."""
    return path.with_name(f"{path.name}.{ending}")


def is_supervised(path: Path) -> bool:
    """Whether a supervisor runs this socket's manager, or did the last time."""
    try:
        return SUPERVISED in beside(path, "pid").read_text()
    except FileNotFoundError:
        return False


def _note_process(claim: int, note: str) -> None:
    """Write which process serves, for people and for clients that want to start a manager."""
    os.ftruncate(claim, 0)
    os.pwrite(claim, note.encode(), 0)


def _claimed(path: Path) -> tuple[Path, int]:
    """The path, and a lock on it that lasts as long as the process, or the one it forks.

    A manager that is just ending is waited for, up to ``CLAIM_SECONDS``.

    :raises ConfigurationError: if another manager has the lock after that time.
    """
    import fcntl  # Where it is missing, there are no sockets with a path either.

    path = make_private(path.parent) / path.name
    pid_file = beside(path, "pid")
    claim = os.open(pid_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    deadline = time.monotonic() + CLAIM_SECONDS
    while True:
        try:
            fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return path, claim
        except BlockingIOError:
            if time.monotonic() > deadline:
                break
        time.sleep(0.01)
    os.close(claim)
    raise ConfigurationError(
        f"a manager serves {path} already: process {pid_file.read_text().strip()}"
    )


def _local_server(path: Path, max_bytes: int) -> Server:
    """Replaces the files of a manager that died; the caller has the lock."""
    # A signal that came before there is a handler would leave the socket behind.
    signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
    authkey = secrets.token_bytes(AUTHKEY_BYTES)
    _write_key(beside(path, "key"), authkey)
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(os.fspath(path))
        path.chmod(0o600)  # Nobody can connect before the next line.
        listener.listen(socket.SOMAXCONN)
    except OSError as error:
        listener.close()
        raise ConfigurationError(f"the manager cannot listen at {path}: {error}") from error
    return _server(listener, authkey, max_bytes, Identity(path))


def _write_key(path: Path, authkey: bytes) -> None:
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "wb") as file:
        file.write(authkey)
    temporary.replace(path)


def _network_listener(address: tuple[str, int]) -> socket.socket:
    try:
        family = socket.getaddrinfo(*address, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server(address, family=family, backlog=socket.SOMAXCONN)
    except OSError as error:
        host, port = address
        raise ConfigurationError(
            f"the manager cannot listen on {host} port {port}: {error.strerror}"
        ) from error


def _server(
    listener: socket.socket, authkey: bytes, max_bytes: int, identity: Identity | None = None
) -> Server:
    room = min(MAX_CONNECTIONS, _descriptors() - _SPARE_DESCRIPTORS)
    store = MemoryStore(max_bytes=max_bytes)
    return Server(listener, authkey, store, identity=identity, max_connections=room)


def _descriptors() -> int:
    """How many files this process may open: as many as it is allowed to allow itself."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_CONNECTIONS + _SPARE_DESCRIPTORS
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return wanted if soft == resource.RLIM_INFINITY else soft


def main() -> None:
    """Serve the address that the command line names."""
    import argparse

    parser = argparse.ArgumentParser(
        prog="python -m sharedstate.stores.manager.server",
        description="Hold the state of CACHE_TYPE 'manager' until SIGTERM or Ctrl-C.",
    )
    parser.add_argument(
        "address", help=f"path of a socket, or HOST:PORT with the authkey in {AUTHKEY_VARIABLE}"
    )
    parser.add_argument(
        "--max-bytes", type=int, default=GIBIBYTE, help="bound of keys and values (%(default)s)"
    )
    options = parser.parse_args()
    host, colon, port = options.address.rpartition(":")
    is_network = colon and port.isdigit() and "/" not in options.address
    address = (host.strip("[]"), int(port)) if is_network else Path(options.address).absolute()
    authkey = os.environ.get(AUTHKEY_VARIABLE, "").encode()
    try:
        run_foreground(address, authkey, max_bytes=options.max_bytes)
    except ConfigurationError as error:
        sys.exit(f"sharedstate: {error}")


if __name__ == "__main__":
    main()
