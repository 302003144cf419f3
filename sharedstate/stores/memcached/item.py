"""How keys and records are written on a memcached server: as text, so that telnet can read them.

A counter that never expires is its bare number, on which memcached's own ``incr`` works. It knows
no negative numbers, but it adds modulo 2**64, and so does two's complement: −1 is written as
18446744073709551615, and adding that subtracts one. Everything else stands behind the time at
which it ends, which ``incr`` refuses to count on::

    42                            a counter
    @1800000000.25 {"a":1}        a value that ends then
    @inf {"a":1}                  a value that stays
"""

from __future__ import annotations

import math
import re
import time
from base64 import urlsafe_b64encode
from functools import lru_cache
from hashlib import sha256

from ...errors import NotSerializable
from ..operations import NEVER, Record

SAFE_NUMBER = 1 << 62
"""Bare numbers are smaller than this, up or down."""

SAFE_DELTA = 1 << 32
"""What may be added to a bare number unseen: 2**30 times, until it would be out of 64 bits."""

_WORD = 1 << 64
_SIGN = 1 << 63
_DIGITS = 20

_MAX_KEY_BYTES = 250
_HASHED_KEY_HEAD = 205
_ODD_BYTES = re.compile(rb"[\0-\x20%\x7f]")
"""Of those that a key of ours can contain: what memcached's protocol cannot, and the escape."""

_GRACE = 10
_MAX_RELATIVE_SECONDS = 30 * 24 * 3600
_MAX_ABSOLUTE_SECONDS = 2**31 - 1

MAX_PREFIX_BYTES = _HASHED_KEY_HEAD


@lru_cache(maxsize=1024)
def physical_key(key: bytes) -> bytes:
    """The name of a key on the server: readable, another one for each key, at most 250 bytes."""
    name = escaped(key)
    if len(name) <= _MAX_KEY_BYTES:
        return name
    # No escape begins like this, so no other key is called the same.
    return name[:_HASHED_KEY_HEAD] + b"%-" + urlsafe_b64encode(sha256(key).digest()).rstrip(b"=")


def escaped(text: bytes) -> bytes:
    """The text without what would end a key; the escaped beginning begins the escaped whole."""
    return _ODD_BYTES.sub(lambda odd: b"%%%02X" % ord(odd[0]), text)


def to_text(record: Record) -> bytes:
    """What the server holds for a record."""
    value, expires = record
    if expires == NEVER and len(value) <= _DIGITS:
        try:
            number = int(value)
        except ValueError:
            pass
        else:
            # Others, as 007, would not come back with the same bytes.
            if -SAFE_NUMBER < number < SAFE_NUMBER and b"%d" % number == value:
                return b"%d" % (number % _WORD)
    return b"@%r %s" % (expires, value)


def from_text(text: bytes) -> Record:
    """The record that the server holds.

    :raises NotSerializable: if it was not written by this store.
    """
    try:
        if text[:1] == b"@":
            space = text.index(b" ")
            return text[space + 1 :], float(text[1:space])
        return b"%d" % signed(text), NEVER
    except ValueError:
        raise NotSerializable(
            "the key holds something that was not written by this store, in memcached"
        ) from None


def unsigned(number: int) -> int:
    """The number modulo 2**64, which is what ``incr`` takes."""
    return number % _WORD


def signed(text: bytes) -> int:
    """The number whose two's complement ``incr`` returns."""
    number = int(text)
    return number - _WORD if number >= _SIGN else number


def lifetime(expires: float, now: float) -> int:
    """The ``exptime`` to send for a record: it only has to be collected some time after its end.

    The end itself is in the record, as memcached counts in seconds and lets a record end up to
    one second early.
    """
    if expires == NEVER:
        return 0
    seconds = max(math.ceil(expires - now), 0) + _GRACE
    if seconds <= _MAX_RELATIVE_SECONDS:
        return seconds
    # More than 30 days are taken for a time since 1970, of 32 bits.
    moment = int(time.time()) + seconds
    return moment if moment <= _MAX_ABSOLUTE_SECONDS else 0
