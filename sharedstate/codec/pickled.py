"""Codecs for any object, in the form in which cachelib's Redis cache stores values."""

from __future__ import annotations

import pickle
from typing import Any

from cachelib.serializers import BaseSerializer

from ..errors import NotSerializable
from .base import Codec

MARK = b"!"


class SerializerCodec(Codec):
    """Any cachelib serializer."""

    name = ""

    def __init__(self, serializer: BaseSerializer) -> None:
        self.serializer = serializer
        self.name = type(serializer).__name__

    def _dump(self, value: Any) -> bytes:
        body = self.serializer.dumps(value)
        if body is None:
            raise NotSerializable(f"{self.name} cannot store this {type(value).__name__}")
        return MARK + body

    def _load(self, raw: bytes) -> Any:
        if not raw.startswith(MARK):
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
        return MARK + pickle.dumps(value, pickle.HIGHEST_PROTOCOL)

    def _load(self, raw: bytes) -> Any:
        return pickle.loads(raw[1:]) if raw.startswith(MARK) else int(raw)
