"""A connection to a manager."""

from __future__ import annotations

import os
import secrets
import socket
import time
from collections.abc import Callable
from pathlib import Path

from .messages import Failure, Result, replies
from .protocol import (
    MAX_HANDSHAKE_BYTES,
    MAX_REPLY_BYTES,
    NONCE_BYTES,
    PROTOCOL,
    BadMessage,
    Claim,
    greetings,
    pack,
    prepare,
    proof,
    size_of,
    unpack,
    welcomes,
)

Address = Path | tuple[str, int]
"""A socket's path, or a host and a port."""

_READ_BYTES = 1 << 16
_FULL_SECONDS = 0.005


class NotRunning(OSError):
    """No process listens at the address."""


class Refused(OSError):
    """The manager does not accept us, or what listens does not know our authkey."""


class Connection:
    """An authenticated connection, for one request at a time.

    After any error it must be closed: a late reply would be taken for the next request's.

    :param authkey: called when the address has accepted the connection, not before.
    :raises OSError: :exc:`NotRunning`, :exc:`Refused`, or whatever goes wrong within ``timeout``.
    """

    def __init__(self, address: Address, authkey: Callable[[], bytes], timeout: float) -> None:
        deadline = time.monotonic() + timeout
        self._timeout = timeout
        self._socket = _connected(address, deadline)
        try:
            prepare(self._socket)
            self.instance = self._introduce(authkey, deadline)
            self._socket.settimeout(timeout)
        except BaseException:
            self._socket.close()
            raise
        self.sent = False
        """Whether the whole last request was sent, so that the manager may have acted on it."""

    def ask(self, request: bytes) -> Result | Failure:
        """The manager's reply to a packed request.

        :raises OSError: if no reply came in time, or the connection broke.
        :raises BadMessage: if the reply is not a message.
        """
        self.sent = False
        self._socket.sendall(request)
        self.sent = True
        reply: bytes | bytearray = self._socket.recv(_READ_BYTES)
        if size_of(reply) != len(reply):
            reply = self._rest(reply, time.monotonic() + self._timeout)
            self._socket.settimeout(self._timeout)
        return unpack(reply, replies)

    def close(self) -> None:
        self._socket.close()

    def _introduce(self, authkey: Callable[[], bytes], deadline: float) -> bytes:
        """Prove to each other that both know the authkey; returns the manager's instance."""
        try:
            greeting = unpack(self._handshake(deadline, "it ends or is full"), greetings)
            if greeting.protocol != PROTOCOL:
                raise BadMessage(greeting.protocol)
            mine, key = secrets.token_bytes(NONCE_BYTES), authkey()
            nonces = greeting.nonce + mine
            self._socket.sendall(pack(Claim(mine, proof(key, b"client", nonces))))
            welcome = unpack(self._handshake(deadline, "the authkey is wrong"), welcomes)
        except BadMessage as error:
            raise Refused("what listens there is not a manager of this version") from error
        expected = proof(key, b"manager", nonces, welcome.instance)
        if not secrets.compare_digest(welcome.proof, expected):
            raise Refused("what listens there does not know the authkey")
        return welcome.instance

    def _handshake(self, deadline: float, refusal: str) -> bytes | bytearray:
        """The next message of the handshake."""
        try:
            return self._rest(b"", deadline, MAX_HANDSHAKE_BYTES)
        except ConnectionError as error:
            raise Refused(refusal) from error

    def _rest(
        self, begun: bytes | bytearray, deadline: float, limit: int = MAX_REPLY_BYTES
    ) -> bytearray:
        """The whole of a message that comes in several pieces."""
        received = bytearray(begun)
        while (size := size_of(received)) is None or len(received) < size:
            if (size or 0) > limit:
                raise BadMessage(f"a message of {size:,} bytes")
            self._socket.settimeout(_left(deadline))
            data = self._socket.recv(min((size or _READ_BYTES) - len(received), 16 * _READ_BYTES))
            if not data:
                raise ConnectionResetError("the manager closed the connection")
            received += data
        return received


def _connected(address: Address, deadline: float) -> socket.socket:
    try:
        if isinstance(address, tuple):
            return socket.create_connection(address, _left(deadline))
        return _connected_to_file(os.fspath(address), deadline)
    except (FileNotFoundError, ConnectionRefusedError) as error:
        raise NotRunning(error.errno, error.strerror) from error


def _connected_to_file(path: str, deadline: float) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        while True:
            connection.settimeout(_left(deadline))
            try:
                connection.connect(path)
                return connection
            except BlockingIOError:  # Too many come at once; it does not wait by itself.
                time.sleep(_FULL_SECONDS)
    except BaseException:
        connection.close()
        raise


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("timed out")
    return left
