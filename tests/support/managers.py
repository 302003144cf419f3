"""Managers that the tests start, and surely end."""

from __future__ import annotations

import fcntl
import multiprocessing
import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from backends import ManagerClock

from sharedstate.stores.manager import server as manager_server
from sharedstate.stores.manager.client import Address
from sharedstate.stores.manager.local import beside
from sharedstate.stores.memory import MemoryStore
from sharedstate.stores.registry import open_store

# Guards against a hang, and nothing else.
SECONDS = 30

_fork: Any = multiprocessing.get_context("fork")


@contextmanager
def foreground(address: Address, authkey: bytes | None = None) -> Iterator[Any]:
    """The process of a manager whose time is that of `ManagerClock`, as a supervisor runs it."""
    process = _fork.Process(target=_run, args=(address, authkey), daemon=True)
    process.start()
    try:
        _wait_for(address)
        yield process
    finally:
        process.kill()
        process.join()
        process.close()


def _run(address: Address, authkey: bytes | None) -> None:
    manager_server.MemoryStore = partial(  # type: ignore[assignment,misc]
        MemoryStore, clock=ManagerClock.time
    )
    manager_server.run_foreground(address, authkey)


def _wait_for(address: Address) -> None:
    family = socket.AF_INET if isinstance(address, tuple) else socket.AF_UNIX
    deadline = time.monotonic() + SECONDS
    while True:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            try:
                probe.connect(address if isinstance(address, tuple) else str(address))
                return
            except (FileNotFoundError, ConnectionRefusedError):
                assert time.monotonic() < deadline, "the manager does not start"
        time.sleep(0.01)


@pytest.fixture(scope="session")
def manager_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The manager of the test session."""
    path = tmp_path_factory.mktemp("manager") / "socket"
    with foreground(path):
        yield f"manager://{path}"


@pytest.fixture
def empty_manager(manager_url: str) -> Iterator[str]:
    """A manager that holds nothing."""
    yield manager_url
    store = open_store({"CACHE_URL": manager_url})
    store.clear(b"")
    store.clear(b"\0")
    store.close()


def process_of(path: Path) -> int | None:
    """The number of the process that serves a socket, or ``None`` after a clean end."""
    text = beside(path, "pid").read_text()
    return int(text.split()[0]) if text else None


def end(path: Path, number: signal.Signals = signal.SIGKILL) -> None:
    """Send the manager of a socket a signal, and wait until its process is gone."""
    process = process_of(path)
    assert process
    os.kill(process, number)
    wait_for_end(path)


def wait_for_end(path: Path) -> None:
    """Until nobody serves the socket: the process has a lock, which the kernel frees."""
    deadline = time.monotonic() + SECONDS
    while serves(path):
        assert time.monotonic() < deadline, "the manager does not end"
        time.sleep(0.01)


def serves(path: Path) -> bool:
    """Whether a process serves the socket."""
    try:
        claim = os.open(beside(path, "pid"), os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(claim)
    return False
