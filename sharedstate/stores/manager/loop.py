"""The manager's event loop: authenticates clients and does what they ask, one after the other."""

from __future__ import annotations

import secrets
import selectors
import socket
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress

from ...errors import SharedStateError
from ..base import Store
from ..support.directory import Identity
from .operations import dump_error
from .protocol import (
    GREETING,
    INSTANCE_BYTES,
    MAX_REQUEST_BYTES,
    NONCE_BYTES,
    PROOF_BYTES,
    BadMessage,
    TooLong,
    pack,
    pack_reply,
    prepare,
    proof,
    size_of,
)
from .requests import request_from

MAX_CONNECTIONS = 4096
MAX_UNAUTHENTICATED = 512
AUTHENTICATION_SECONDS = 5.0

_READ_BYTES = 1 << 16
_ACCEPTS = 32
_TICK_SECONDS = 1.0


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
        self._listener = listener
        self._identity = identity
        self._max_connections = max_connections
        self._selector: selectors.BaseSelector
        self._unauthenticated: dict[_Peer, float] = {}
        self._peers: set[_Peer] = set()
        self._wake, self._waker = socket.socketpair()
        self._stopped = False

    def serve(self) -> bool:
        """Serve until :meth:`stop`, or until the socket's file is deleted.

        :returns: whether the file is still this server's.
        """
        self._selector = selectors.DefaultSelector()
        self._listener.setblocking(False)
        self._selector.register(self._listener, selectors.EVENT_READ, self._accept)
        self._selector.register(self._wake, selectors.EVENT_READ, self.stop)
        try:
            while not self._stopped:
                for key, _ in self._selector.select(_TICK_SECONDS):
                    key.data()
                self._drop_late()
                if self._identity is not None and self._identity.is_lost():
                    return False
            return True
        finally:
            self._close()

    def stop(self) -> None:
        """Let :meth:`serve` return; for other threads and signal handlers."""
        if not self._stopped:
            self._stopped = True
            with suppress(OSError):  # It has returned by itself, and closed what would wake it.
                self._waker.send(b"\0")

    def welcome(self, peer: _Peer) -> None:
        """Take requests of a peer that has proved that it knows the authkey."""
        self._unauthenticated.pop(peer, None)

    def await_writing(self, peer: _Peer, waiting: bool) -> None:
        """Call the peer when it can be written to, or again when it can be read from."""
        event = selectors.EVENT_WRITE if waiting else selectors.EVENT_READ
        self._selector.modify(peer.socket, event, peer.go_on)

    def drop(self, peer: _Peer) -> None:
        """Close the connection."""
        if peer in self._peers:
            self._peers.discard(peer)
            self._unauthenticated.pop(peer, None)
            self._selector.unregister(peer.socket)
            peer.socket.close()

    def _accept(self) -> None:
        for _ in range(_ACCEPTS):
            try:
                connection, _ = self._listener.accept()
            except BlockingIOError:
                return
            except OSError as error:  # Such as a client that has left already.
                _log(f"accepting a connection failed: {error}\n")
                time.sleep(0.01)
                return
            if len(self._peers) >= self._max_connections:
                connection.close()
                continue
            if len(self._unauthenticated) >= MAX_UNAUTHENTICATED:
                self.drop(next(iter(self._unauthenticated)))
            self._greet(connection)

    def _greet(self, connection: socket.socket) -> None:
        try:
            prepare(connection)
        except OSError:  # It has left already.
            connection.close()
            return
        connection.setblocking(False)
        peer = _Peer(self, connection)
        self._peers.add(peer)
        self._unauthenticated[peer] = time.monotonic() + AUTHENTICATION_SECONDS
        self._selector.register(connection, selectors.EVENT_READ, peer.go_on)
        peer.greet()

    def _drop_late(self) -> None:
        now = time.monotonic()
        while self._unauthenticated and next(iter(self._unauthenticated.values())) < now:
            self.drop(next(iter(self._unauthenticated)))

    def _close(self) -> None:
        for peer in list(self._peers):
            self.drop(peer)
        self._selector.close()
        self._listener.close()
        self._wake.close()
        self._waker.close()


class _Peer:
    """One connection, with the part of a message received and the part of a reply unsent."""

    __slots__ = ("_nonce", "_received", "_server", "_unauthenticated", "_unsent", "socket")

    def __init__(self, server: Server, connection: socket.socket) -> None:
        self.socket = connection
        self._server = server
        self._nonce = secrets.token_bytes(NONCE_BYTES)
        self._unauthenticated = True
        self._received = bytearray()
        self._unsent = memoryview(b"")

    def greet(self) -> None:
        self._guarded(lambda: self._send(GREETING + self._nonce))

    def go_on(self) -> None:
        """Read or write what can be, and reply to a message that is complete."""
        self._guarded(self._go_on_sending if self._unsent else self._receive)

    def _guarded(self, step: Callable[[], None]) -> None:
        try:
            step()
        except BlockingIOError:
            pass
        except (OSError, BadMessage, TooLong):
            self._server.drop(self)
        except Exception:  # noqa: BLE001 - a mistake of ours must not take the state with it
            _log(traceback.format_exc())
            self._server.drop(self)

    def _receive(self) -> None:
        data: bytes | bytearray = self.socket.recv(_READ_BYTES)
        if not data:
            self._server.drop(self)
            return
        if self._received:
            self._received += data
            data = self._received
        size = NONCE_BYTES + PROOF_BYTES if self._unauthenticated else size_of(data)
        if size is not None and size > MAX_REQUEST_BYTES:
            raise BadMessage(f"a request of {size:,} bytes")
        if size is None or len(data) < size:
            self._received = bytearray(data) if data is not self._received else self._received
            return
        if len(data) > size:
            raise BadMessage("the next request comes after the reply")
        self._received = bytearray()
        message = bytes(data)
        self._send(self._introduced(message) if self._unauthenticated else self._replied(message))

    def _introduced(self, message: bytes) -> bytes:
        server, nonces = self._server, self._nonce + message[:NONCE_BYTES]
        expected = proof(server.authkey, b"client", nonces)
        if not secrets.compare_digest(message[NONCE_BYTES:], expected):
            raise BadMessage("a wrong authkey")
        self._unauthenticated = False
        server.welcome(self)
        return server.instance + proof(server.authkey, b"manager", nonces, server.instance)

    def _replied(self, message: bytes) -> bytes:
        request = request_from(message)
        try:
            return pack_reply(request(self._server.store))
        except SharedStateError as error:
            return pack(dump_error(error))

    def _send(self, data: bytes | memoryview) -> None:
        try:
            sent = self.socket.send(data)
        except BlockingIOError:
            sent = 0
        if sent < len(data):
            self._unsent = memoryview(data)[sent:]
            self._server.await_writing(self, True)

    def _go_on_sending(self) -> None:
        self._unsent = self._unsent[self.socket.send(self._unsent) :]
        if not self._unsent:
            self._server.await_writing(self, False)


def _log(text: str) -> None:
    """Say it on standard error; a full disk there must not end the manager."""
    with suppress(OSError, ValueError):
        sys.stderr.write(text)
        sys.stderr.flush()
