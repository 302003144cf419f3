"""The manager's event loop: authenticates clients and does what they ask, one after the other."""

from __future__ import annotations

import asyncio
import secrets
import signal
import socket
from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache
from typing import Any

from ...errors import SharedStateError
from ..base import Store
from ..support.directory import Identity
from .messages import Failure, Result, call_from
from .protocol import (
    MAX_HANDSHAKE_BYTES,
    MAX_REPLY_BYTES,
    MAX_REQUEST_BYTES,
    NONCE_BYTES,
    PROTOCOL,
    BadMessage,
    Greeting,
    TooLong,
    Welcome,
    claims,
    pack,
    prepare,
    proof,
    size_of,
    unpack,
)

MAX_CONNECTIONS = 4096
MAX_UNAUTHENTICATED = 512
AUTHENTICATION_SECONDS = 5.0
INSTANCE_BYTES = 16

_READ_BYTES = 1 << 16
_ACCEPTS = 32
_TICK_SECONDS = 1.0
_SHORT_BYTES = 512


class Server:
    """Performs on a store what authenticated clients ask for.

    One thread serves all connections, and so no client can stop another: one that is silent in
    the middle of a message, or does not read its reply, keeps nobody waiting.

    :param listener: a socket that listens; closed when serving ends.
    :param identity: of the socket's file: when that is deleted, new clients would start another
        manager, so that this one must not go on for the old ones.
    """

    def __init__(
        self,
        listener: socket.socket,
        authkey: bytes,
        store: Store,
        *,
        identity: Identity | None = None,
        max_connections: int = MAX_CONNECTIONS,
    ) -> None:
        self.store = store
        self.authkey = authkey
        self.instance = secrets.token_bytes(INSTANCE_BYTES)
        self.peers: set[_Peer] = set()
        self.unauthenticated: dict[_Peer, asyncio.TimerHandle] = {}
        self.max_connections = max_connections
        self.buffer = memoryview(bytearray(_READ_BYTES))
        self._listener = listener
        self._identity = identity
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopped = asyncio.Event()

    def serve(self, signals: Sequence[signal.Signals] = ()) -> bool:
        """Serve until :meth:`stop`, one of the signals, or the socket's file is deleted.

        :param signals: may be blocked until then.
        :returns: whether the file is still this server's.
        """
        asyncio.run(self._serve(signals))
        return self._identity is None or not self._identity.is_other()

    def stop(self) -> None:
        """Let :meth:`serve` return; for other threads."""
        if self._loop is None:
            self._stopped.set()
            return
        with suppress(RuntimeError):  # It has returned by itself.
            self._loop.call_soon_threadsafe(self._stopped.set)

    def is_lost(self) -> bool:
        """Whether this is no longer the manager that new clients find; then it stops."""
        if self._identity is None or not self._identity.is_lost():
            return False
        self._stopped.set()
        return True

    async def _serve(self, signals: Sequence[signal.Signals]) -> None:
        self._loop = asyncio.get_running_loop()
        for number in signals:
            self._loop.add_signal_handler(number, self._stopped.set)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, signals)
        server = await self._loop.create_server(
            lambda: _Peer(self), sock=self._listener, backlog=_ACCEPTS
        )
        # For asyncio the backlog is also how many it accepts before it looks at their number.
        self._listener.listen(socket.SOMAXCONN)
        try:
            while not self._stopped.is_set() and not self.is_lost():
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._stopped.wait(), _TICK_SECONDS)
        finally:
            server.close()
            for peer in list(self.peers):
                peer.drop()


class _Peer(asyncio.BufferedProtocol):
    """One connection, with the part of a message that has come."""

    __slots__ = ("_authenticated", "_nonce", "_received", "_server", "_transport")

    def __init__(self, server: Server) -> None:
        self._server = server
        self._nonce = secrets.token_bytes(NONCE_BYTES)
        self._received = bytearray()
        self._authenticated = False

    def drop(self) -> None:
        """Close the connection."""
        self.connection_lost(None)
        self._transport.abort()

    def connection_made(self, transport: Any) -> None:
        server, self._transport = self._server, transport
        if len(server.peers) >= server.max_connections:
            self.drop()
            return
        if len(server.unauthenticated) >= MAX_UNAUTHENTICATED:
            next(iter(server.unauthenticated)).drop()
        server.peers.add(self)
        loop = asyncio.get_running_loop()
        server.unauthenticated[self] = loop.call_later(AUTHENTICATION_SECONDS, self.drop)
        transport.set_write_buffer_limits(0)
        with suppress(OSError):  # It has left already.
            prepare(transport.get_extra_info("socket"))
        transport.write(pack(Greeting(PROTOCOL, self._nonce)))

    def connection_lost(self, error: Exception | None) -> None:
        self._server.peers.discard(self)
        self._end_authentication()

    def pause_writing(self) -> None:
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        self._transport.resume_reading()

    def get_buffer(self, sizehint: int) -> memoryview:
        # One for all: what it gets is taken out at once. Without, asyncio allocates 256 KiB for
        # each request, by a system call.
        return self._server.buffer

    def buffer_updated(self, size: int) -> None:
        # An error that is not the client's is logged by asyncio, and costs this connection only.
        try:
            message = self._whole(bytes(self._server.buffer[:size]))
            if message:
                self._transport.write(self._reply(message))
        except (BadMessage, TooLong):
            self.drop()

    def _whole(self, data: bytes) -> bytes | None:
        """The message that these bytes complete, if they do."""
        received: bytes | bytearray = data
        if self._received:
            self._received += data
            received = self._received
        size = size_of(received)
        if received is data and size == len(data):
            return data
        limit = MAX_REQUEST_BYTES if self._authenticated else MAX_HANDSHAKE_BYTES
        if size is not None and size > limit:
            raise BadMessage(f"a message of {size:,} bytes")
        if size is not None and len(received) > size:
            raise BadMessage("the next request comes after the reply")
        if received is data:
            self._received += data
        if len(self._received) != size:
            return None
        self._received = bytearray()
        return bytes(received)

    def _reply(self, message: bytes) -> bytes:
        server = self._server
        if not self._authenticated:
            return pack(self._introduced(message))
        if server.is_lost():
            raise BadMessage("it comes to a manager that ends")
        known = len(message) <= _SHORT_BYTES
        method, arguments = _known_call(message) if known else call_from(message)
        try:
            value = getattr(server.store, method)(*arguments)
        except SharedStateError as error:
            return pack(Failure.of(error))
        return pack(Result(value, server.store.clock()), MAX_REPLY_BYTES)

    def _introduced(self, message: bytes) -> Welcome:
        server, claim = self._server, unpack(message, claims)
        nonces = self._nonce + claim.nonce
        expected = proof(server.authkey, b"client", nonces)
        if not secrets.compare_digest(claim.proof, expected):
            raise BadMessage("a wrong authkey")
        self._end_authentication()
        self._authenticated = True
        own = proof(server.authkey, b"manager", nonces, server.instance)
        return Welcome(server.instance, own)

    def _end_authentication(self) -> None:
        timer = self._server.unauthenticated.pop(self, None)
        if timer is not None:
            timer.cancel()


# A request is data, and mostly one that came before.
_known_call = lru_cache(maxsize=1024)(call_from)
