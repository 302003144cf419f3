"""Codecs that run nobody's code, and refuse what would not come back equal."""

from __future__ import annotations

import json
import math
from typing import Any

from ..errors import ConfigurationError, NotSerializable
from .base import Codec


class JSONCodec(Codec):
    """Strict JSON: a value that would not come back equal is refused."""

    name = "json"
    runs_code = False

    def _dump(self, value: Any) -> bytes:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        if json.loads(text) != value:
            raise NotSerializable(
                f"this {type(value).__name__} would come back from JSON as something else "
                "(tuples become lists, keys become text); convert it first"
            )
        return text.encode()

    def _load(self, raw: bytes) -> Any:
        value = _decode(raw.decode())
        if b"\\u" in raw:
            # Half of a character is no text: it cannot be encoded, in a response for example.
            json.dumps(value, ensure_ascii=False).encode()
        return value


TEXTS = JSONCodec()
"""For what the library keeps for itself, which is text: equal bytes whatever key signs the rest."""


def _finite(number: str) -> float:
    """The number, if there is one: NaN and 1e999 are none in JSON."""
    found = float(number)
    if not math.isfinite(found):
        raise ValueError("not a finite number")
    return found


_decode = json.JSONDecoder(parse_float=_finite, parse_constant=_finite).decode


class MsgpackCodec(Codec):
    """Strict MessagePack: as JSON, with bytes and keys that are no text besides.

    :raises ConfigurationError: if msgspec is not installed.
    """

    name = "msgpack"
    runs_code = False

    def __init__(self) -> None:
        try:
            from msgspec import msgpack
        except ImportError as error:
            raise ConfigurationError(
                "CACHE_CODEC 'msgpack' needs the package msgspec: "
                "pip install 'sharedstate[msgpack]'"
            ) from error
        self._packed, self._unpacked = msgpack.encode, msgpack.decode

    def _dump(self, value: Any) -> bytes:
        if isinstance(value, int) and not isinstance(value, bool):
            return b"%d" % value  # An IntEnum, for example, which packed might look like another.
        raw: bytes = self._packed(value)
        if self._unpacked(raw) != value:
            raise NotSerializable(
                f"this {type(value).__name__} would come back from MessagePack as something else "
                "(tuples become lists); convert it first"
            )
        return raw

    def _load(self, raw: bytes) -> Any:
        # No value but a number begins with a digit or a minus, once it is packed.
        return int(raw) if raw[:1] in _OF_NUMBERS else self._unpacked(raw)


_OF_NUMBERS = [b"%d" % digit for digit in range(10)] + [b"-"]
