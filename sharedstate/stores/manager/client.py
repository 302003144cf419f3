"""A connection to a manager."""

from __future__ import annotations

import os
import secrets
import socket
import time
from collections.abc import Callable
from pathlib import Path

from . import wire

Address = Path | tuple[str, int]
"""A socket's path, or a host and a port."""

_READ_BYTES = 1 << 16


class NotRunning(OSError):
    """No process accepts connections at the address, or none at present."""


class Connection:
    """An authenticated connection, for one request at a time.

    After any error it must be closed: a late reply would be taken for the next request's.

    :param authkey: called when the address has accepted the connection, not before.
    :raises OSError: :exc:`NotRunning`, :exc:`Refused`, or whatever goes wrong within ``timeout``.
    """

    def __init__(self, address: Address, authkey: Callable[[], bytes], timeout: float) -> None:
        deadline = time.monotonic() + timeout
        self._timeout = timeout
        try:
            self._socket = _connected(address, timeout)
        except (FileNotFoundError, ConnectionRefusedError) as error:
            raise NotRunning("it is not running") from error
        except BlockingIOError as error:  # A socket with a path does not wait by itself.
            raise NotRunning("too many connect to it at once") from error
        self.close = self._socket.close
        self.sent = False
        """Whether the whole last request was sent, so that the manager may have acted on it."""
        try:
            self.instance = self._introduce(authkey, deadline)
        except BaseException:
            self.close()
            raise

    def ask(self, request: bytes) -> bytes:
        """The manager's reply to a request.

        :raises OSError: if no reply came in time, or the connection broke.
        """
        self.sent = False
        if self._socket.gettimeout() != self._timeout:  # To set it is a call of the kernel.
            self._socket.settimeout(self._timeout)
        self._socket.sendall(request)
        self.sent = True
        return self._receive(wire.MAX_REPLY_BYTES, time.monotonic() + self._timeout)

    def _introduce(self, authkey: Callable[[], bytes], deadline: float) -> bytes:
        """Prove to each other that both know the authkey; returns the manager's instance."""
        self._wait_until(deadline)
        greeting = self._receive(wire.MAX_HANDSHAKE_BYTES, deadline)
        if greeting[: -wire.NONCE_BYTES] != wire.PROTOCOL:
            raise wire.Refused
        key, mine = authkey(), secrets.token_bytes(wire.NONCE_BYTES)
        nonces = greeting[-wire.NONCE_BYTES :] + mine
        self._socket.sendall(wire.framed(mine + wire.proof(key, b"client", nonces)))
        self._wait_until(deadline)
        try:
            welcome = self._receive(wire.MAX_HANDSHAKE_BYTES, deadline)
        except ConnectionError as error:
            raise wire.Refused("the authkey is wrong") from error
        instance, proved = welcome[: -wire.PROOF_BYTES], welcome[-wire.PROOF_BYTES :]
        if not secrets.compare_digest(proved, wire.proof(key, b"manager", nonces, instance)):
            raise wire.Refused("what listens there does not know the authkey")
        return instance

    def _receive(self, limit: int, deadline: float) -> bytes:
        """The next message, of which the first piece comes before the socket's own time-out."""
        received = bytearray()
        while data := self._socket.recv(_READ_BYTES):
            received += data
            message = wire.message_in(received, limit)
            if message is not None:
                return message
            self._wait_until(deadline)
        raise ConnectionResetError("it closed the connection, as it ends or is full")

    def _wait_until(self, deadline: float) -> None:
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._socket.settimeout(left)


def _connected(address: Address, timeout: float) -> socket.socket:
    if isinstance(address, tuple):
        connection = socket.create_connection(address, timeout)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)  # A host can be gone.
        return connection
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.settimeout(timeout)
        connection.connect(os.fspath(address))
    except BaseException:
        connection.close()
        raise
    return connection
