"""The messages between a manager and its clients: data, and nothing that runs.

A message is its length in four bytes, and MessagePack. A connection begins with a handshake, in
which each side proves that it knows the authkey without telling it::

    manager → client   Greeting    protocol, nonce
    client → manager   Claim       nonce, proof
    manager → client   Welcome     instance, proof

After that it is request, reply, request, reply. Nothing is ever unpickled, as
``multiprocessing.managers`` would do: a peer with the authkey could run code in the manager.
"""

from __future__ import annotations

import hmac
import socket
import struct
from typing import TYPE_CHECKING, Any, Final, TypeVar

from ..support.drivers import import_driver

if TYPE_CHECKING:
    import msgspec as msgspec
    from msgspec import Meta as Meta
    from msgspec.msgpack import Decoder as Decoder
else:
    msgspec = import_driver("msgspec", "manager")
    Meta, Decoder = msgspec.Meta, msgspec.msgpack.Decoder

PROTOCOL: Final = "sharedstate manager 2"
NONCE_BYTES: Final = 32

MAX_HANDSHAKE_BYTES: Final = 256
MAX_REQUEST_BYTES: Final = 64 << 20
MAX_REPLY_BYTES: Final = 1 << 30

_LENGTH = struct.Struct("!I")

T = TypeVar("T")
_encode = msgspec.msgpack.Encoder().encode


class BadMessage(ValueError):
    """What came is not a message of this protocol."""


class TooLong(ValueError):
    """The message would be longer than is allowed."""

    def __init__(self, size: int) -> None:
        super().__init__(f"a message of {size:,} bytes")
        self.size = size


class Message(msgspec.Struct, array_like=True, tag=True, forbid_unknown_fields=True):
    """An array of the class's name and its fields; a decoder checks them all."""


class Greeting(Message):
    protocol: str
    nonce: bytes


class Claim(Message):
    nonce: bytes
    proof: bytes


class Welcome(Message):
    instance: bytes
    proof: bytes


greetings = Decoder(Greeting)
claims = Decoder(Claim)
welcomes = Decoder(Welcome)


def proof(authkey: bytes, role: bytes, *parts: bytes) -> bytes:
    """What only a peer that knows the authkey can compute from these parts, in this role."""
    return hmac.digest(authkey, PROTOCOL.encode() + role + b"".join(parts), "sha256")


def pack(message: Any, limit: int = MAX_REQUEST_BYTES) -> bytes:
    """The message as bytes.

    :param limit: the most bytes that it may have.
    :raises TooLong: if it has more.
    """
    packed: bytes = _encode(message)
    if len(packed) > limit - _LENGTH.size:
        raise TooLong(_LENGTH.size + len(packed))
    return _LENGTH.pack(len(packed)) + packed


def unpack(packed: bytes | bytearray, decoder: Decoder[T]) -> T:
    """The message in what :func:`pack` has returned.

    :raises BadMessage: if it is not one that the decoder is for.
    """
    try:
        return decoder.decode(memoryview(packed)[_LENGTH.size :])
    except (msgspec.DecodeError, RecursionError, ValueError) as error:
        raise BadMessage(f"not a message: {error!r}") from error


def size_of(begun: bytes | bytearray) -> int | None:
    """The length in bytes of the message that begins so; ``None`` if that is not there yet."""
    if len(begun) < _LENGTH.size:
        return None
    (size,) = _LENGTH.unpack_from(begun)
    return _LENGTH.size + int(size)


def prepare(connection: socket.socket) -> None:
    """Send at once, and notice a host that has gone."""
    if connection.family != getattr(socket, "AF_UNIX", None):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
