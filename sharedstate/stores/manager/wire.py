"""What a manager and its clients send each other: data, and nothing that runs.

A message is its length in four bytes, and that many bytes. A connection begins with a handshake,
in which each side proves that it knows the authkey without telling it::

    manager → client   protocol, nonce
    client → manager   nonce, proof
    manager → client   instance, proof

After that it is request, reply, request, reply, in MessagePack. A request is the name of a method
of :class:`~sharedstate.stores.base.Store`, or of an operation, and arguments whose types are
checked. Nothing is ever unpickled, as ``multiprocessing.managers`` would do: a peer with the
authkey could run code in the manager.
"""

from __future__ import annotations

import hmac
import struct
from collections.abc import Sequence
from dataclasses import is_dataclass
from typing import Any, Final, NamedTuple, get_type_hints

from ... import errors
from .. import operations
from ..base import Store
from ..operations import Batch, Operation
from ..support.drivers import import_driver

msgspec: Any = import_driver("msgspec", "manager")

PROTOCOL: Final = b"sharedstate manager 3"
NONCE_BYTES: Final = 32
PROOF_BYTES: Final = 32

MAX_HANDSHAKE_BYTES: Final = 128
MAX_REQUEST_BYTES: Final = 64 << 20
MAX_REPLY_BYTES: Final = 1 << 30

_LENGTH = struct.Struct("!I")
_pack = msgspec.msgpack.Encoder().encode


class Refused(OSError):
    """The other side is no peer of ours, or does not take us for one."""

    def __init__(self, reason: str = "what is there is not a manager of this version") -> None:
        super().__init__(reason)


def framed(message: bytes, limit: int = MAX_REQUEST_BYTES) -> bytes:
    """The message as it is sent.

    :raises ValueTooLarge: if it has more than ``limit`` bytes.
    """
    if len(message) > limit:
        raise errors.ValueTooLarge(len(message), limit, "a message to or from a manager")
    return _LENGTH.pack(len(message)) + message


def message_in(received: bytearray, limit: int) -> bytes | None:
    """The message in what has been received, ``None`` if it is not there to its end.

    :raises Refused: if it is longer than ``limit``, or something comes after it.
    """
    if len(received) < _LENGTH.size:
        return None
    (size,) = _LENGTH.unpack_from(received)
    missing = _LENGTH.size + size - len(received)
    if size > limit or missing < 0:
        raise Refused
    return None if missing else bytes(memoryview(received)[_LENGTH.size :])


def proof(authkey: bytes, role: bytes, *parts: bytes) -> bytes:
    """What only a peer that knows the authkey can compute from these parts, in this role."""
    return hmac.digest(authkey, PROTOCOL + role + b"".join(parts), "sha256")


# Requests.

_METHODS: Final = ("read", "sizes", "page", "clear", "ping")
_OPERATIONS: dict[str, Any] = {
    name: kind
    for name, kind in vars(operations).items()
    if isinstance(kind, type) and issubclass(kind, Operation) and is_dataclass(kind)
}
_requests = msgspec.msgpack.Decoder(tuple[str, msgspec.Raw])


def request(method: str, *arguments: Any) -> bytes:
    """The message that asks for a method of the manager's store, but for ``transact``.

    :raises ValueTooLarge: if it is longer than a manager takes.
    """
    return framed(_pack((method, arguments)))


def request_to(operation: Operation, keys: Sequence[bytes]) -> bytes:
    """The message that asks for an operation, which is sent as its name and its attributes.

    :raises ValueTooLarge: if it is longer than a manager takes.
    """
    sent: Any = operation
    if isinstance(operation, Batch):
        steps = [(position, (type(step).__name__, step)) for position, step in operation.steps]
        sent = {"steps": steps, "max_bytes": operation.max_bytes}
    return request(type(operation).__name__, keys, sent)


def requested(message: bytes) -> tuple[str, Sequence[Any]]:
    """The method that a message asks for, and its arguments.

    :raises Refused: if a store has no such method, or it takes no such arguments.
    """
    try:
        name, arguments = _requests.decode(message)
        method = name if name in _METHODS else "transact"
        return method, _arguments[name].decode(arguments)
    except Exception as error:  # whatever is wrong, it is the message
        raise Refused from error


def _decoder(method: str, **types: Any) -> Any:
    """A decoder of arguments for a method of a store."""
    hints = get_type_hints(getattr(Store, method)) | types
    del hints["return"]
    return msgspec.msgpack.Decoder(tuple[tuple(hints.values())], dec_hook=_step)  # type: ignore[misc]


def _step(_: type[Operation], sent: Any) -> Any:
    """An operation in a batch."""
    name, attributes = sent
    return msgspec.convert(attributes, _OPERATIONS[name], builtin_types=(bytes,))


_arguments = {name: _decoder(name) for name in _METHODS}
_arguments |= {name: _decoder("transact", operation=kind) for name, kind in _OPERATIONS.items()}


# Replies.


class Reply(NamedTuple):
    """What a manager's store returned or raised."""

    now: float
    """The manager's time, in which its records end."""
    returned: Any
    raised: tuple[str, list[Any], dict[str, Any]] | None = None
    """The name of an error, its arguments and its attributes."""

    def result(self) -> Any:
        """What the store returned; what it raised is raised."""
        if self.raised is None:
            return self.returned
        name, arguments, attributes = self.raised
        kind = getattr(errors, name)
        # Not called: an error's parameters are others than its arguments.
        error = kind.__new__(kind, *arguments)
        vars(error).update(attributes)
        raise error


_replies = msgspec.msgpack.Decoder(Reply)


def reply(store: Store, method: str, arguments: Sequence[Any]) -> bytes:
    """The message that says what a store returns or raises."""
    try:
        result = getattr(store, method)(*arguments)
        return framed(_pack((store.clock(), result)), MAX_REPLY_BYTES)
    except errors.SharedStateError as error:
        raised = (type(error).__name__, error.args, vars(error))
        return framed(_pack((store.clock(), None, raised)))


def replied(message: bytes) -> Reply:
    """The reply in a message.

    :raises Refused: if there is none.
    """
    try:
        found: Reply = _replies.decode(message)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise Refused from error
    return found
