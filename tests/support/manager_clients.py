"""Clients of a manager that do as they like."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from managers import SECONDS

from sharedstate.stores.manager import server as manager_server
from sharedstate.stores.manager.client import Connection
from sharedstate.stores.manager.wire import (
    MAX_REQUEST_BYTES,
    framed,
    message_in,
    msgspec,
    replied,
)
from sharedstate.stores.memory import MemoryStore

_pack = msgspec.msgpack.encode


class Served:
    """A manager in a thread of this process, and clients that do as they like."""

    def __init__(self, path: Path) -> None:
        self.path = path
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(path))
        listener.listen()
        self.server = manager_server.Server(listener, b"key", MemoryStore())
        self.thread = threading.Thread(target=asyncio.run, args=(self._serve(),))

    def __enter__(self) -> Served:
        self.thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.loop.call_soon_threadsafe(self.server.stopped.set)
        self.thread.join()

    async def _serve(self) -> None:
        self.loop = asyncio.get_running_loop()
        await self.server.serve()

    def unauthenticated(self) -> socket.socket:
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(SECONDS)
        client.connect(str(self.path))
        return client

    def authenticated(self, timeout: float = SECONDS) -> Connection:
        return Connection(self.path, lambda: b"key", timeout)

    def assert_serves(self) -> None:
        with closing(self.authenticated()) as peer:
            assert result(peer, ("ping", [])) is None


def result(peer: Connection, request: tuple[Any, ...]) -> Any:
    return replied(peer.ask(pack(request))).result()


def pack(data: Any) -> bytes:
    return framed(_pack(data))


def is_dropped(client: socket.socket) -> bool:
    """Whether the server has nothing more to say to a client."""
    try:
        while client.recv(1000):
            pass
    except ConnectionResetError:
        pass
    return True


def message_from(source: socket.socket) -> bytes:
    received = bytearray()
    while (message := message_in(received, MAX_REQUEST_BYTES)) is None:
        received += source.recv(1 if len(received) < 4 else 1 << 16) or pytest.fail("it ended")
    return message


def accept_one(listener: socket.socket, behave: Callable[[socket.socket], None]) -> None:
    client, _ = listener.accept()
    with client:
        behave(client)
