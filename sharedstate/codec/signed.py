"""Pickles that nobody can write who does not have the application's ``SECRET_KEY``.

A signed value is ``$``, 16 bytes of BLAKE2b over the pickle with a key made of ``SECRET_KEY``, and
the pickle. The signature does not depend on where the value is stored, so that records can be
copied, renamed and restored as they are.
"""

from __future__ import annotations

import logging
import pickle
from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from hashlib import blake2b
from hmac import compare_digest
from typing import Any, NamedTuple

from ..errors import ConfigurationError, NotSerializable
from .pickled import MARK, PickleCodec

logger = logging.getLogger(__name__)

SIGNED = b"$"
_SIZE = 16
_BODY = len(SIGNED) + _SIZE
_REMEMBERED, _REMEMBERED_BYTES = 256, 8192
"""How many values, and how long ones, are known to be signed when they are read again."""
_PURPOSE = b"sharedstate.pkl"
"""Makes the key another one than those that Flask and its extensions make of ``SECRET_KEY``."""

_UNSIGNED = (
    "it is a pickle that is not signed with SECRET_KEY, and may be forged. "
    "`flask state resign --trust-unsigned` signs what is stored already; "
    'CACHE_CODEC = "pickle" takes everything from everybody'
)
_FORGED = (
    "its signature is of another SECRET_KEY, or forged. Put the key that it was written with into "
    "SECRET_KEY_FALLBACKS, or delete the value"
)
_KEYLESS = (
    "it is signed, and this application has no SECRET_KEY; set the one that it was written with"
)
_WARNING = (
    "This application has no SECRET_KEY, so what it pickles is NOT SIGNED: everybody who can write "
    'to the store can run code in it. Set SECRET_KEY, or CACHE_CODEC = "json" or "msgpack"; '
    'CACHE_CODEC = "pickle" accepts it without this message'
)


class _Keys(NamedTuple):
    """The hashes that begin with each of the keys, and the settings they are made of."""

    secret: Any
    fallbacks: Any
    hashes: tuple[blake2b, ...]
    """The first one signs, all of them verify; none if there is no ``SECRET_KEY``."""
    verify_again: Callable[[bytes], bool]
    """:func:`_is_signed` that remembers bytes, which costs a fifth of a signature."""


class SignedPickleCodec(PickleCodec):
    """Any picklable object; what others have written to the store is never unpickled.

    :param secrets: has ``SECRET_KEY``, which signs, and ``SECRET_KEY_FALLBACKS``, which verify too.
        It may get them after this was made.
    :param required: whether it is an error that there is no ``SECRET_KEY``. If not, values are
        pickled unsigned, and the log says so once.
    """

    def __init__(self, secrets: Mapping[str, Any], *, required: bool = False) -> None:
        self._secrets = secrets
        self._required = required
        self._known: _Keys | None = None
        self._warned = False

    @property
    def name(self) -> str:  # type: ignore[override]  # it depends on whether there is a key
        return "signed-pickle" if self.signs else "pickle"

    @property
    def signs(self) -> bool:
        return bool(self._keys().hashes)

    @property
    def runs_code(self) -> bool:  # type: ignore[override]
        return not self.signs

    def takes(self, name: str) -> bool:
        return name in (self.name, PickleCodec.name)

    def sign(self, raw: bytes) -> bytes:
        return self._signed(raw[len(MARK) :]) if raw.startswith(MARK) else raw

    def verify(self, raw: bytes) -> bytes:
        if raw.startswith(MARK) and self.signs:
            raise self._refusal(_UNSIGNED)
        return MARK + self._verified(raw) if raw.startswith(SIGNED) else raw

    def _dump(self, value: Any) -> bytes:
        return self._signed(pickle.dumps(value, pickle.HIGHEST_PROTOCOL))

    def _load(self, raw: bytes) -> Any:
        if raw.startswith(SIGNED):
            return pickle.loads(self._verified(raw))
        if not raw.startswith(MARK):
            return int(raw)
        if self.signs:
            raise self._refusal(_UNSIGNED)
        self._warn()
        return super()._load(raw)

    def _signed(self, body: bytes) -> bytes:
        hashes = self._keys().hashes
        if not hashes:
            self._warn()
            return MARK + body
        return SIGNED + _signature(hashes[0], body) + body

    def _verified(self, raw: bytes) -> bytes:
        keys = self._keys()
        if len(raw) <= _REMEMBERED_BYTES:
            is_signed = keys.verify_again(raw)
        else:
            is_signed = _is_signed(keys.hashes, raw)
        if not is_signed:
            raise self._refusal(_FORGED if keys.hashes else _KEYLESS)
        return raw[_BODY:]

    def _keys(self) -> _Keys:
        known, get = self._known, self._secrets.get
        secret, fallbacks = get("SECRET_KEY"), get("SECRET_KEY_FALLBACKS")
        if known is None or secret is not known[0] or fallbacks is not known[1]:
            known = _keys(secret, fallbacks)
            if self._required and not known.hashes:
                raise ConfigurationError(
                    "CACHE_CODEC is 'signed-pickle', and the application has no SECRET_KEY: set one"
                )
            self._known = known
        return known

    def _warn(self) -> None:
        if not self._warned:
            self._warned = True
            logger.error(_WARNING)

    def _refusal(self, reason: str) -> NotSerializable:
        return NotSerializable(f"the {self.name} codec refuses the stored value: {reason}")


def _keys(secret: Any, fallbacks: Any) -> _Keys:
    secrets = [secret, *(fallbacks or ())] if secret else []
    hashes = tuple(map(_hash, filter(None, secrets)))
    again = lru_cache(_REMEMBERED)(partial(_is_signed, hashes))
    return _Keys(secret, fallbacks, hashes, again)


def _hash(secret: Any) -> blake2b:
    if not isinstance(secret, (str, bytes)):
        raise ConfigurationError(
            "SECRET_KEY and each of SECRET_KEY_FALLBACKS must be text or bytes"
        )
    raw = secret.encode() if isinstance(secret, str) else secret
    key = blake2b(raw, digest_size=32, person=_PURPOSE).digest()
    return blake2b(key=key, digest_size=_SIZE, person=_PURPOSE)


def _signature(begun: blake2b, body: bytes) -> bytes:
    hash_ = begun.copy()
    hash_.update(body)
    return hash_.digest()


def _is_signed(hashes: tuple[blake2b, ...], raw: bytes) -> bool:
    """Whether the bytes begin with the signature that one of the keys gives the rest."""
    signature, body = raw[len(SIGNED) : _BODY], raw[_BODY:]
    return any(compare_digest(_signature(each, body), signature) for each in hashes)
