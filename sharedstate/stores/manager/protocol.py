"""The messages between a manager and its clients: data, and nothing that runs.

A connection begins with a handshake of fixed sizes, in which each side proves that it knows the
authkey without telling it::

    manager → client   GREETING, nonce
    client → manager   nonce, proof
    manager → client   instance, proof

After that it is request, reply, request, reply. A message is JSON in which ``{"": n}`` stands
for the next ``n`` of the bytes that follow the text. Nothing is ever unpickled, as
``multiprocessing.managers`` would do: a peer with the authkey could run code in the manager.
"""

from __future__ import annotations

import hmac
import json
import socket
import struct
from typing import Any, Final

GREETING: Final = b"sharedstate manager 1\n"
NONCE_BYTES: Final = 32
PROOF_BYTES: Final = 32
INSTANCE_BYTES: Final = 16

MAX_REQUEST_BYTES: Final = 64 << 20
MAX_REPLY_BYTES: Final = 1 << 30

_LENGTHS = struct.Struct("!II")


class BadMessage(ValueError):
    """What came is not a message of this protocol."""


class TooLong(ValueError):
    """The message would be longer than is allowed."""

    def __init__(self, size: int) -> None:
        super().__init__(f"a message of {size:,} bytes")
        self.size = size


def proof(authkey: bytes, role: bytes, nonces: bytes, instance: bytes = b"") -> bytes:
    """What only a peer that knows the authkey can compute from these nonces, in this role."""
    return hmac.digest(authkey, GREETING + role + nonces + instance, "sha256")


def prepare(connection: socket.socket) -> None:
    """Send at once, and notice a host that has gone."""
    if connection.family != getattr(socket, "AF_UNIX", None):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)


def pack(message: Any, limit: int = MAX_REQUEST_BYTES) -> bytes:
    """The message as bytes.

    :param limit: the most bytes that it may have.
    :raises TooLong: if it would have more, before they are joined.
    """
    blobs: list[bytes] = []

    def take_out(blob: bytes) -> dict[str, int]:
        blobs.append(blob)
        return {"": len(blob)}

    text = json.dumps(message, default=take_out, separators=(",", ":")).encode()
    behind = sum(map(len, blobs))
    size = _LENGTHS.size + len(text) + behind
    if size > limit:
        raise TooLong(size)
    return b"".join((_LENGTHS.pack(len(text), behind), text, *blobs))


def pack_reply(result: Any) -> bytes:
    """What :func:`pack` makes of ``[None, result]``; most results are numbers."""
    if type(result) is int:
        text = b"[null,%d]" % result
        return _LENGTHS.pack(len(text), 0) + text
    return pack((None, result), MAX_REPLY_BYTES)


def unpack(message: bytes) -> Any:
    """What :func:`pack` was given, with lists for its tuples.

    :raises BadMessage: if it is not a message.
    """
    text_length, behind = _LENGTHS.unpack_from(message)
    position = _LENGTHS.size + text_length
    text = message[_LENGTHS.size : position]

    def put_in(found: dict[str, int]) -> bytes:
        nonlocal position
        begin, length = position, found[""]
        if length < 0:
            raise BadMessage("a negative length")
        position += length
        return message[begin:position]

    try:
        data = json.loads(text, object_hook=put_in) if b"{" in text else json.loads(text)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise BadMessage(f"not a message: {error!r}") from error
    if position != len(message):
        raise BadMessage("its lengths are not those of what it holds")
    return data


def size_of(received: bytes | bytearray) -> int | None:
    """The length in bytes of the message that begins so; ``None`` before its header is complete."""
    if len(received) < _LENGTHS.size:
        return None
    text_length, behind = _LENGTHS.unpack_from(received)
    return _LENGTHS.size + int(text_length) + int(behind)
