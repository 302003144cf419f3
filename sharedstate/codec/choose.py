"""The codec that the settings ask for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..errors import ConfigurationError
from .base import Codec
from .pickled import PickleCodec, SerializerCodec
from .signed import SignedPickleCodec
from .strict import JSONCodec, MsgpackCodec

_CODECS: dict[str, Callable[[], Codec]] = {
    "pickle": PickleCodec,
    "json": JSONCodec,
    "msgpack": MsgpackCodec,
}


def codec_from(
    settings: Mapping[str, Any], scope: str = "host", secrets: Mapping[str, Any] | None = None
) -> Codec:
    """The codec that ``CACHE_CODEC``, or Flask-Caching's ``CACHE_SERIALIZER``, asks for.

    :param scope: that of the store. Pickles are signed where others may write to it.
    :param secrets: where ``SECRET_KEY`` and ``SECRET_KEY_FALLBACKS`` are looked for whenever they
        are needed; the settings if left out.
    :raises ConfigurationError: if there is none of that name.
    """
    serializer = settings.get("CACHE_SERIALIZER")
    if serializer is not None:
        return SerializerCodec(serializer() if isinstance(serializer, type) else serializer)
    name = settings.get("CACHE_CODEC") or ("pickle" if scope != "network" else None)
    if name is None or name == "signed-pickle":
        keys = settings if secrets is None else secrets
        return SignedPickleCodec(keys, required=name is not None)
    if name not in _CODECS:
        names = " or ".join([*_CODECS, "signed-pickle"])
        raise ConfigurationError(f"CACHE_CODEC is {name!r}; it can be {names}")
    return _CODECS[name]()
