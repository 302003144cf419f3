"""The manager's process: authenticates clients and does what they ask, one after the other."""

from __future__ import annotations

import asyncio
import os
import resource
import secrets
import signal
import socket
import sys
from collections.abc import Generator
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

from ...errors import ConfigurationError
from ...settings import GIBIBYTE
from ..base import Store
from ..memory import MemoryStore
from ..support.directory import Identity
from . import wire
from .client import Address
from .local import SUPERVISED, beside, claimed

MAX_UNAUTHENTICATED = 512
AUTHENTICATION_SECONDS = 5.0
CLAIM_SECONDS = 1.0

_READ_BYTES = 1 << 16
_SHORT_BYTES = 512
_TICK_SECONDS = 1.0
_DESCRIPTORS = 4096
_SPARE_DESCRIPTORS = 64
_ACCEPTS = 32
_ENDING = (signal.SIGTERM, signal.SIGINT)

# A request is data, and mostly one that came before.
_known = lru_cache(maxsize=1024)(wire.requested)


def run_foreground(address: Address, authkey: bytes = b"", *, max_bytes: int = GIBIBYTE) -> None:
    """Serve until SIGTERM or SIGINT; for a supervisor, which starts it again if it ends.

    Workers do not start a manager at a socket that a supervisor's has served, so that the two do
    not get in each other's way when it is restarted.

    :param address: the path of a socket, or a host and a port.
    :param authkey: of a manager at a host and a port; one at a socket has it in a file.
    :raises ConfigurationError: if another manager serves the address, or it cannot be used.
    """
    store = MemoryStore(max_bytes=max_bytes)
    if isinstance(address, tuple):
        Server(_listener_on(address), authkey, store).run()
    else:
        # A client may look whether it is free, and another manager may just be ending.
        claim = claimed(address, CLAIM_SECONDS)
        if claim is None:
            process = beside(address, "pid").read_text().strip()
            raise ConfigurationError(f"a manager serves {address} already: process {process}")
        try:
            server = _local(address, store)
            _note(claim, f"{os.getpid()} {SUPERVISED}")
            server.run()
            _note(claim, SUPERVISED)
        finally:
            os.close(claim)


def run_detached(path: Path, claim: int, max_bytes: int) -> None:
    """Serve in a process of its own; this one ends as soon as clients can connect.

    :param claim: what :func:`claimed` has returned.
    """
    os.umask(0o077)
    try:
        server = _local(path, MemoryStore(max_bytes=max_bytes))
    except ConfigurationError as error:
        sys.exit(f"sharedstate: {error}")
    process = os.fork()
    if process:
        _note(claim, str(process))
        os._exit(0)
    server.run()
    _note(claim, "")


def _note(claim: int, note: str) -> None:
    """Write which process serves, for people and for clients that want to start a manager."""
    os.ftruncate(claim, 0)
    os.pwrite(claim, note.encode(), 0)


def _local(path: Path, store: Store) -> Server:
    """Replaces the files of a manager that died; the caller has the lock."""
    # A signal that came before there is a handler would leave the socket behind.
    signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
    authkey = secrets.token_bytes()
    key_file = beside(path, "key")
    key_file.unlink(missing_ok=True)
    key_file.touch(0o600)
    key_file.write_bytes(authkey)
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(os.fspath(path))
        path.chmod(0o600)  # Nobody can connect before the next line.
        listener.listen()
    except OSError as error:
        listener.close()
        raise ConfigurationError(f"the manager cannot listen at {path}: {error}") from error
    return Server(listener, authkey, store, path)


def _listener_on(address: tuple[str, int]) -> socket.socket:
    try:
        family = socket.getaddrinfo(*address, type=socket.SOCK_STREAM)[0][0]
        listener = socket.create_server(address, family=family)
    except OSError as error:
        host, port = address
        raise ConfigurationError(
            f"the manager cannot listen on {host} port {port}: {error.strerror}"
        ) from error
    # Its connections inherit it: a host can just be gone.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    return listener


class Server:
    """Performs on a store what authenticated clients ask for.

    One thread serves all connections, and so no client can stop another: one that is silent in
    the middle of a message, or does not read its reply, keeps nobody waiting.

    :param listener: a socket that listens; closed when serving ends.
    :param path: of the socket's file: when that is deleted, new clients would start another
        manager, so that this one must not go on for the old ones.
    """

    def __init__(
        self, listener: socket.socket, authkey: bytes, store: Store, path: Path | None = None
    ) -> None:
        self.store = store
        self.authkey = authkey
        self.instance = secrets.token_bytes()
        self.room = _DESCRIPTORS
        self.peers: set[_Peer] = set()
        self.unauthenticated: dict[_Peer, asyncio.TimerHandle] = {}
        self.buffer = memoryview(bytearray(_READ_BYTES))
        self.stopped = asyncio.Event()
        self._listener = listener
        self._file = Identity(path) if path else None

    def run(self) -> None:
        """Serve until SIGTERM or SIGINT, which may be blocked until then, and clean up."""
        # asyncio itself, when no descriptor is left, logs that hundreds of times a second.
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        limit = _DESCRIPTORS if hard == resource.RLIM_INFINITY else min(_DESCRIPTORS, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
        self.room = limit - _SPARE_DESCRIPTORS
        asyncio.run(self.serve(*_ENDING))
        if self._file and not self._file.is_other():
            self._file.path.unlink(missing_ok=True)

    async def serve(self, *signals: signal.Signals) -> None:
        """Serve until ``stopped``, one of the signals, or the socket's file is deleted."""
        loop = asyncio.get_running_loop()
        for number in signals:
            loop.add_signal_handler(number, self.stopped.set)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, signals)
        server = await loop.create_server(
            lambda: _Peer(self), sock=self._listener, backlog=_ACCEPTS
        )
        # For asyncio the backlog is also how many it accepts before it looks at their number.
        self._listener.listen(socket.SOMAXCONN)
        while not self.stopped.is_set() and not self.is_lost():
            with suppress(TimeoutError):
                await asyncio.wait_for(self.stopped.wait(), _TICK_SECONDS)
        server.close()
        for peer in list(self.peers):
            peer.drop()

    def is_lost(self) -> bool:
        """Whether this is no longer the manager that new clients find; then it stops."""
        if self._file is None or not self._file.is_lost():
            return False
        self.stopped.set()
        return True


class _Peer(asyncio.BufferedProtocol):
    """One connection, with the part of a message that has come.

    With asyncio's streams the manager takes three times the CPU time a request; with a thread for
    each connection it and its clients take a third more where many are busy.
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        self._received = bytearray()
        self._limit = wire.MAX_HANDSHAKE_BYTES
        self._conversation = self._converse()

    def _converse(self) -> Generator[bytes, bytes, None]:
        """Yields what to send next, and is sent the message that comes then.

        :raises Refused: when the connection has to end.
        """
        server, nonce = self._server, secrets.token_bytes(wire.NONCE_BYTES)
        claim = yield wire.framed(wire.PROTOCOL + nonce)
        nonces = nonce + claim[: wire.NONCE_BYTES]
        expected = wire.proof(server.authkey, b"client", nonces)
        if not secrets.compare_digest(claim[wire.NONCE_BYTES :], expected):
            raise wire.Refused
        self._end_authentication()
        self._limit = wire.MAX_REQUEST_BYTES
        own = wire.proof(server.authkey, b"manager", nonces, server.instance)
        request = yield wire.framed(server.instance + own)
        while not server.is_lost():
            call = _known(request) if len(request) <= _SHORT_BYTES else wire.requested(request)
            request = yield wire.reply(server.store, *call)
        raise wire.Refused

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        server = self._server
        if len(server.peers) >= server.room:
            self.drop()
            return
        if len(server.unauthenticated) >= MAX_UNAUTHENTICATED:
            next(iter(server.unauthenticated)).drop()
        server.peers.add(self)
        loop = asyncio.get_running_loop()
        server.unauthenticated[self] = loop.call_later(AUTHENTICATION_SECONDS, self.drop)
        transport.write(next(self._conversation))

    def get_buffer(self, sizehint: int) -> memoryview:
        # One for all: what it gets is taken out at once. Without, asyncio allocates 256 KiB for
        # each request, by a system call, and the manager does half as many.
        return self._server.buffer

    def buffer_updated(self, size: int) -> None:
        # An error that is not the client's is logged by asyncio, and costs this connection only.
        self._received += self._server.buffer[:size]
        try:
            message = wire.message_in(self._received, self._limit)
            if message is None:
                return
            if self._transport.get_write_buffer_size():
                raise wire.Refused  # A client of ours reads its reply before it asks for more.
            self._received.clear()
            self._transport.write(self._conversation.send(message))
        except wire.Refused:
            self.drop()

    def drop(self) -> None:
        """Close the connection."""
        self.connection_lost(None)
        self._transport.abort()

    def connection_lost(self, error: Exception | None) -> None:
        self._server.peers.discard(self)
        self._end_authentication()

    def _end_authentication(self) -> None:
        timer = self._server.unauthenticated.pop(self, None)
        if timer is not None:
            timer.cancel()
