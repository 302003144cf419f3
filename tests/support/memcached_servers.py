"""Real memcached servers, stand-ins for them, and looks at what they hold without our store."""

from __future__ import annotations

import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from typing import Any

import pytest
from backends import program
from stand_ins import listening

from race.servers.processes import reserved_port
from sharedstate import State
from sharedstate.codec import JSONCodec
from sharedstate.stores.memcached.store import MemcachedStore


class Telnet:
    """A connection of one's own to a server."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        self._file = self._socket.makefile("rwb")

    def __enter__(self) -> Telnet:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._socket.close()

    def ask(self, request: str | bytes) -> bytes:
        """The first line of the answer."""
        raw = request.encode() if isinstance(request, str) else request
        self._file.write(raw + b"\r\n")
        self._file.flush()
        return self._file.readline().rstrip()

    def get(self, name: str | bytes) -> bytes | None:
        """What the server holds under a name."""
        raw = name.encode() if isinstance(name, str) else name
        head = self.ask(b"mg %s v" % raw)
        return None if head == b"EN" else self._file.read(int(head.split()[1]) + 2)[:-2]

    def stats(self, kind: str = "") -> dict[bytes, bytes]:
        line = self.ask(f"stats {kind}".rstrip())
        found = {}
        while line != b"END":
            _, name, found[name] = line.split(b" ", 2)
            line = self._file.readline().rstrip()
        return found


@contextmanager
def memcached_server(*options: str, port: int | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """A running server, with its ``port`` as an attribute; killed at the end."""
    with ExitStack() as stack:
        port = port or stack.enter_context(reserved_port())
        # As root it wants to be told which user to become.
        command = [program("memcached"), "-u", "root", "-l", "127.0.0.1", "-p", str(port)]
        process = subprocess.Popen([*command, *options])
        process.port = port  # type: ignore[attr-defined]
        try:
            _wait_until_ready(process, port)
            yield process
        finally:
            process.kill()
            process.wait()


def _wait_until_ready(process: subprocess.Popen[bytes], port: int) -> None:
    for _ in range(2000):
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except ConnectionRefusedError:
            assert process.poll() is None, "memcached ended at once"
            threading.Event().wait(0.01)
    raise RuntimeError("memcached did not listen in time")


@pytest.fixture(scope="session")
def memcached_port() -> Iterator[int]:
    """A memcached server of the test session's own, for values of 1 MiB and what is around them."""
    with memcached_server("-I", "2m", "-M") as server:
        yield server.port


@pytest.fixture
def empty_memcached(memcached_port: int) -> Iterator[str]:
    yield f"memcached://127.0.0.1:{memcached_port}"
    with Telnet(memcached_port) as server:
        server.ask("flush_all")


@contextmanager
def state_at(*ports: int, prefix: str = "test:", **options: Any) -> Iterator[State]:
    """A state on servers of this host, without the breaker that settings put before it."""
    options = {"timeout": 30, **options}  # The machine may be busy.
    store = MemcachedStore([("127.0.0.1", port) for port in ports], **options)
    with closing(State(store, codec=JSONCodec(), prefix=prefix)) as state:
        yield state


@contextmanager
def stand_in(behave: Callable[[socket.socket], None], **options: Any) -> Iterator[State]:
    """A state on a server that treats each connection as ``behave`` does."""
    with listening(behave) as port, state_at(port, **options) as state:
        yield state
