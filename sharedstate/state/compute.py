"""A value that one caller computes while the others wait.

A miss takes five store calls, each of them on one record, and each for a reason::

    1  read the value       mostly it is there, and nothing else is done
    2  add the claim        one caller computes, and the claim of one that dies expires
    3  read the value       another one may have set it, and dropped its claim, between 1 and 2
    4  add the value        it may have been set by somebody else, or by one whose lease had ended
    5  drop the claim       so that the next miss need not wait for its lease to end

A claim only saves work: that all callers return the same value is due to the adding of 4. So it
needs no fence, and nobody confirms it.

With ``stale`` a value is stored for so many seconds longer than it is fresh, and how long it has to
live says which it is: there is nothing to be kept beside it. The caller that gets the claim of a
stale one computes, and replaces it in 4 if it is still the same; the others return it, and do not
wait.
"""

from __future__ import annotations

import os
import secrets
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import TypeVar

from ..errors import Deadlock, SharedStateError
from ..keyspace import Keyspace
from ..keyspace.arguments import ABSENT, Timeout, checked_seconds
from ..locks.held import checked_lease
from ..stores.operations import Add, Record, Swap
from ..stores.support.pauses import pauses

R = TypeVar("R")


class _Thread(threading.local):
    """The claims of this thread, or greenlet: by place, the process that made it and its bytes."""

    def __init__(self) -> None:
        self.claims: dict[tuple[int, bytes], tuple[int, bytes]] = {}


_thread = _Thread()


class _Claim:
    """The right to compute the value of a key, for as long as a lease lasts."""

    def __init__(self, claims: Keyspace, key: str, lease: float) -> None:
        self._claims = claims
        self._key = key
        self._lease = checked_lease(lease)
        self._raw = claims.encode(secrets.token_urlsafe(16))
        self._place = (id(claims.store), claims.key(key))

    def take(self) -> bool:
        """Returns whether this is the one who computes now."""
        if not self._claims.apply(self._key, Add(self._raw, self._lease)):
            return False
        _thread.claims[self._place] = os.getpid(), self._raw
        return True

    def is_of_this_thread(self) -> bool:
        """Whether this thread, or greenlet, computes the value already: waiting would not end."""
        process, raw = _thread.claims.get(self._place, (0, b""))
        if process != os.getpid():
            return False
        return self._claims.store.values(self._place[1:])[0] == raw

    def drop(self) -> None:
        """Let the next one compute, unless the lease has ended.

        Whether that succeeds is not what the caller asked about: the value is set, or is not, and
        an error about the claim would hide which. The lease ends by itself.
        """
        if _thread.claims.get(self._place, (0, b""))[1] == self._raw:
            del _thread.claims[self._place]
        with suppress(SharedStateError):
            self._claims.apply(self._key, Swap(self._raw, None, 0, 0))


def get_or_set(
    space: Keyspace,
    claims: Keyspace,
    key: str,
    make: Callable[[], R],
    timeout: Timeout,
    lease: float,
) -> R:
    """Return the value of a key of ``space``, made by one caller; see :meth:`State.get_or_set`.

    :param claims: where it is kept who computes.
    """
    value: R
    value = space.value(key, ABSENT)
    if value is not ABSENT:
        return value
    claim = _Claim(claims, key, lease)
    for pause in pauses():
        if claim.take():
            break
        if claim.is_of_this_thread():
            raise Deadlock(
                f"the value of the key {key!r} is computed by this thread already: make() asks "
                "for what it shall make"
            )
        time.sleep(pause)
        value = space.value(key, ABSENT)
        if value is not ABSENT:
            return value
    try:
        value = space.value(key, ABSENT)
        return _settle(space, key, make(), timeout) if value is ABSENT else value
    finally:
        claim.drop()


def get_or_refresh(
    space: Keyspace,
    claims: Keyspace,
    key: str,
    make: Callable[[], R],
    timeout: Timeout,
    lease: float,
    stale: float | timedelta,
) -> R:
    """Return the value like :func:`get_or_set`, a stale one too while somebody computes it anew."""
    stale = checked_seconds(stale)
    seconds = kept_seconds(space.seconds(timeout), stale)
    physical = space.key(key)
    (record,) = space.store.read((physical,))
    if record is None:
        return get_or_set(space, claims, key, make, seconds, lease)
    value: R
    claim = _Claim(claims, key, lease)
    if not is_stale(space, record, stale) or not claim.take():
        value = space.decode(record[0], key)
        return value
    try:
        (record,) = space.store.read((physical,))
        if record is None or is_stale(space, record, stale):
            return _replace(space, key, record and record[0], make(), seconds)
        value = space.decode(record[0], key)
        return value
    finally:
        claim.drop()


def kept_seconds(fresh: float, stale: float) -> float:
    """For how long a value is stored that is fresh for some seconds, and stale for some more."""
    return checked_seconds(fresh + stale) if fresh else 0.0


def is_stale(space: Keyspace, record: Record, stale: float) -> bool:
    """Whether a record is in the last seconds before it expires."""
    return 0 < space.remaining(record) <= stale


def _replace(space: Keyspace, key: str, found: bytes | None, value: R, seconds: float) -> R:
    """Set the value unless another one was set meanwhile; returns the one that holds."""
    raw = space.encode(value, key)
    while True:
        swapped, present = space.apply(key, Swap(found, raw, seconds, 0))
        if swapped:
            return value
        if present is not None:
            theirs: R = space.decode(present, key)
            return theirs
        found = None  # It has expired.


def _settle(space: Keyspace, key: str, value: R, timeout: Timeout) -> R:
    """Set the value unless another one was set meanwhile; returns the one that holds."""
    add = Add(space.encode(value, key), space.seconds(timeout))
    while not space.apply(key, add):
        present: R = space.value(key, ABSENT)
        if present is not ABSENT:
            return present
    return value
