"""Value ↔ bytes.

Every codec writes an ``int`` as plain decimal text, so that a counter is the same bytes with
every codec, ``redis-cli`` shows it as it is, and Redis' own ``INCRBY`` works on it.
"""

from __future__ import annotations

import json
import math
import pickle
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from cachelib.serializers import BaseSerializer

from .errors import ConfigurationError, NotSerializable

_SHOWN = 200


class Codec(ABC):
    """Turns values into bytes and back, or raises :exc:`NotSerializable`."""

    name: str

    def encode(self, value: Any) -> bytes:
        """Return the bytes that :meth:`decode` turns into an equal value.

        :raises NotSerializable: if there are none.
        """
        try:
            # bool is a subclass of int and must come back as a bool.
            return b"%d" % value if type(value) is int else self._dump(value)
        except NotSerializable:
            raise
        except Exception as error:
            # An object's own __reduce__ may raise anything at all.
            deep = isinstance(error, RecursionError)
            raise NotSerializable(
                f"the {self.name} codec cannot store this {type(value).__name__}: "
                f"{'it is nested too deeply' if deep else error}"
            ) from error

    def decode(self, raw: bytes) -> Any:
        """Return the value whose bytes these are.

        :raises NotSerializable: if it cannot be read; the message shows nothing of the bytes.
        """
        try:
            return self._load(raw)
        except Exception as error:
            raise NotSerializable(
                f"the {self.name} codec cannot read the stored value: {_reason(error)}"
            ) from error

    @abstractmethod
    def _dump(self, value: Any) -> bytes: ...

    @abstractmethod
    def _load(self, raw: bytes) -> Any: ...


class JSONCodec(Codec):
    """Strict JSON: a value that would not come back equal is refused."""

    name = "json"

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


def _finite(number: str) -> float:
    """The number, if there is one: NaN and 1e999 are none in JSON."""
    found = float(number)
    if not math.isfinite(found):
        raise ValueError("not a finite number")
    return found


_decode = json.JSONDecoder(parse_float=_finite, parse_constant=_finite).decode


class SerializerCodec(Codec):
    """Any cachelib serializer, in the form in which cachelib's Redis cache stores values."""

    _mark = b"!"

    def __init__(self, serializer: BaseSerializer) -> None:
        self.serializer = serializer
        self.name = type(serializer).__name__

    def _dump(self, value: Any) -> bytes:
        body = self.serializer.dumps(value)
        if body is None:
            raise NotSerializable(f"{self.name} cannot store this {type(value).__name__}")
        return self._mark + body

    def _load(self, raw: bytes) -> Any:
        if not raw.startswith(self._mark):
            return int(raw)
        body = raw[1:]
        value = self.serializer.loads(body)
        # cachelib's serializers return None for what they cannot read.
        if value is None and body != self.serializer.dumps(None):
            raise ValueError("the serializer cannot read it")
        return value


class PickleCodec(Codec):
    """Any picklable object. Only for stores whose content nobody else can write."""

    name = "pickle"

    def _dump(self, value: Any) -> bytes:
        return b"!" + pickle.dumps(value, pickle.HIGHEST_PROTOCOL)

    def _load(self, raw: bytes) -> Any:
        return pickle.loads(raw[1:]) if raw.startswith(b"!") else int(raw)


def _reason(error: Exception) -> str:
    """Why a value could not be read, without anything of it: it may be long, or secret."""
    if isinstance(error, (ImportError, AttributeError)):
        return _gone(str(error)[:_SHOWN])
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    return f"it was written with another codec, or by another program ({type(error).__name__})"


def _gone(what: str) -> str:
    if "__main__" not in what:
        return f"its class is gone ({what}); restore it, or delete the key"
    return (
        f"its class is gone ({what}): the script that wrote it, __main__, is another one in each "
        "process; define the class in a module that all of them import"
    )


_CODECS = {"pickle": PickleCodec, "json": JSONCodec}


def codec_from(settings: Mapping[str, Any]) -> Codec:
    """The codec that ``CACHE_CODEC``, or Flask-Caching's ``CACHE_SERIALIZER``, asks for.

    :raises ConfigurationError: if there is none of that name.
    """
    serializer = settings.get("CACHE_SERIALIZER")
    if serializer is not None:
        return SerializerCodec(serializer() if isinstance(serializer, type) else serializer)
    name = settings.get("CACHE_CODEC") or "pickle"
    if name not in _CODECS:
        raise ConfigurationError(f"CACHE_CODEC is {name!r}; it can be {' or '.join(_CODECS)}")
    return _CODECS[name]()
