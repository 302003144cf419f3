"""Rate limits on the application's own store: a storage for the ``limits`` library.

With Flask-Limiter::

    cache.init_app(app)
    limiter = Limiter(get_remote_address, app=app, storage_uri="sharedstate://")

The scheme is known once :mod:`sharedstate` is imported. It needs limits 4.1 or newer.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from math import floor
from typing import Any

from flask import current_app
from limits.storage import MovingWindowSupport, SlidingWindowCounterSupport, Storage

from ..backend import fit_key
from ..codec import TEXTS
from ..errors import SharedStateError
from ..keyspace import Item
from ..state import State

_MOVING = "moving "
_SLIDING = "sliding "

# A moving window with more entries than this is brought down to that many parts of its length.
_MOST_ENTRIES = 400
_PARTS = 200

Entries = list[list[Any]]  # When, and how many hits.


class SharedStateStorage(Storage, MovingWindowSupport, SlidingWindowCounterSupport):
    """Exact among all that share the store, for each of the strategies.

    In a moving window with hits at more than 400 moments, those that are close together count as
    long as the last of them: up to a 200th of the window longer than they should. More than the
    limit never pass.

    It uses the store of the current application.
    """

    STORAGE_SCHEME = ["sharedstate"]

    @property
    def base_exceptions(self) -> type[Exception]:
        return SharedStateError

    @property
    def storage(self) -> str:
        """Where the hits are, in words, as ``flask limiter config`` shows it."""
        store = _state().store
        return f"{store.name} at {store.describe()['location']}"

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        """Add hits to a fixed window, atomically among all that share the store.

        :param expiry: the length of the window in seconds; it begins with the first hit.
        :param amount: how many hits.
        :returns: the number of hits in the window.
        """
        return _state().inc(fit_key(key), amount, timeout=expiry)

    def get(self, key: str) -> int:
        """Return the number of hits in a fixed window, 0 if there is none."""
        hits: int = _state().get(fit_key(key), 0)
        return hits

    def get_expiry(self, key: str) -> float:
        """Return when a fixed window ends, in seconds since the epoch; now if there is none."""
        return time.time() + (_state().ttl(fit_key(key)) or 0)

    def acquire_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        """Add hits to a moving window if all fit, atomically among all that share the store.

        :param limit: how many hits may lie in any ``expiry`` seconds.
        :param amount: how many hits.
        :returns: whether they were added; else nothing has changed.
        """

        def with_hits(entries: Entries) -> Entries | None:
            now = time.time()
            entries = _within(entries, now - expiry)
            if sum(hits for _, hits in entries) + amount > limit:
                return None
            return _compacted(sorted([*entries, [now, amount]]), expiry / _PARTS)

        return _replace(fit_key(_MOVING + key), with_hits, timeout=expiry)

    def get_moving_window(self, key: str, limit: int, expiry: int) -> tuple[float, int]:
        """Return what lies in a moving window.

        :param expiry: the length of the window in seconds.
        :returns: the time of its first hit in seconds since the epoch, now if there is none; and
            the number of hits.
        """
        now = time.time()
        entries = _within(_state().get(fit_key(_MOVING + key), ()), now - expiry)
        return (entries[0][0] if entries else now), sum(hits for _, hits in entries)

    def acquire_sliding_window_entry(
        self, key: str, limit: int, expiry: int, amount: int = 1
    ) -> bool:
        """Add hits to a sliding window if all fit, atomically among all that share the store.

        :param limit: how high the weighted sum of the last and the current window may be.
        :param expiry: the length of a window in seconds.
        :param amount: how many hits.
        :returns: whether they were added; else nothing has changed.
        """

        def with_hits(record: list[int]) -> list[int] | None:
            now = time.time()
            window, current, previous = _windows(record, int(now / expiry))
            weighted = previous * _remaining(now, expiry) / expiry + current
            if floor(weighted) + amount > limit:
                return None
            return [window, current + amount, previous]

        return _replace(fit_key(_SLIDING + key), with_hits, timeout=2 * expiry)

    def get_sliding_window(self, key: str, expiry: int) -> tuple[int, float, int, float]:
        """Return what lies in a sliding window.

        :param expiry: the length of a window in seconds.
        :returns: the hits of the last window, how many seconds they still count, the hits of the
            current window, and how many seconds those still count.
        """
        now = time.time()
        record = _state().get(fit_key(_SLIDING + key), [])
        _, current, previous = _windows(record, int(now / expiry))
        remaining = _remaining(now, expiry)
        return previous, remaining if previous else 0.0, current, remaining + expiry

    def clear_sliding_window(self, key: str, expiry: int) -> None:
        """Forget the hits in sliding windows under a key."""
        _state().delete(fit_key(_SLIDING + key))

    def check(self) -> bool:
        """Return whether the store responds."""
        try:
            _state().store.ping()
        except SharedStateError:
            return False
        return True

    def reset(self) -> int | None:
        """Forget all hits of all clients.

        :returns: how many keys had some, ``None`` on a store that cannot list its keys.
        """
        state = _state()
        found = len(state.keys()) if "keys" in state.store.can else None
        state.clear()
        return found

    def clear(self, key: str) -> None:
        """Forget the hits under a key, in fixed and moving windows."""
        _state().delete_many(fit_key(key), fit_key(_MOVING + key))


def _state() -> State:
    state: State = current_app.extensions["sharedstate"].state
    return state.namespace("limits", TEXTS)


def _replace(name: str, change: Callable[[Any], Any], *, timeout: float) -> bool:
    """Replace a record in one step by what ``change`` returns; returns whether that was not None.

    ``change`` gets an empty list where there is no record, and may be called more than once.
    """

    def changed(item: Item | None) -> Any:
        new = change([] if item is None else item.value)
        if new is None:
            raise _Refused
        return new

    try:
        _state().revise(name, changed, timeout=timeout)
    except _Refused:
        return False
    return True


class _Refused(Exception):
    """The hits do not fit."""


def _within(entries: Entries, begin: float) -> Entries:
    return [entry for entry in entries if entry[0] >= begin]


def _compacted(entries: Entries, length: float) -> Entries:
    """The entries, those of a part of the window in one where they are too many."""
    if len(entries) <= _MOST_ENTRIES:
        return entries
    parts: dict[int, list[Any]] = {}
    for at, hits in entries:
        part = int(at / length)
        parts[part] = [at, hits + parts.get(part, [at, 0])[1]]
    return list(parts.values())


def _windows(record: list[int], window: int) -> tuple[int, int, int]:
    """The number of the current window, the hits in it, and those in the one before."""
    found, current, previous = record or (window, 0, 0)
    if found >= window:  # Later than now where another host's clock is ahead.
        return found, current, previous
    return window, 0, current if found == window - 1 else 0


def _remaining(now: float, expiry: int) -> float:
    """How many seconds are left of the current window."""
    return (1 - (now / expiry) % 1) * expiry
