"""Rate limits on the application's own store: a storage for the ``limits`` library.

With Flask-Limiter::

    app.config["RATELIMIT_STORAGE_URI"] = "sharedstate://"
    cache.init_app(app)
    limiter = Limiter(get_remote_address, app=app)

:class:`~sharedstate.Cache` imports this module where it finds that setting; elsewhere import it
before the limiter is made.
"""

from __future__ import annotations

import time

from flask import current_app
from limits.storage import MovingWindowSupport, Storage

from .arguments import ABSENT
from .cache import fit_key
from .codec import JSONCodec
from .errors import SharedStateError
from .state import State, pauses


class SharedStateStorage(Storage, MovingWindowSupport):
    """Exact among all that share the store, for fixed and for moving windows.

    It uses the store of the current application.
    """

    STORAGE_SCHEME = ["sharedstate"]

    @property
    def base_exceptions(self) -> type[Exception]:
        return SharedStateError

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        """The number of hits in the window, which begins with the first of them."""
        return _state().inc(fit_key(key), amount, timeout=expiry)

    def get(self, key: str) -> int:
        """The number of hits in the window."""
        hits: int = _state().get(fit_key(key), 0)
        return hits

    def get_expiry(self, key: str) -> float:
        """When the window ends, in seconds since the epoch."""
        return time.time() + (_state().ttl(fit_key(key)) or 0)

    def acquire_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        """Record ``amount`` hits unless that would be more than ``limit`` in ``expiry`` seconds."""
        state, name = _state(), fit_key(key)
        for pause in pauses():
            now = time.time()
            found = state.get(name, ABSENT)
            hits = [hit for hit in found or () if hit >= now - expiry]
            if len(hits) + amount > limit:
                return False
            if state.compare_and_set(name, found, [*hits, *[now] * amount], timeout=expiry):
                return True
            time.sleep(pause)
        raise AssertionError  # pragma: no cover - the pauses never end

    def get_moving_window(self, key: str, limit: int, expiry: int) -> tuple[float, int]:
        """When the window begins, and the number of hits in it."""
        now = time.time()
        hits = [hit for hit in _state().get(fit_key(key), ()) if hit >= now - expiry]
        return (hits[0] if hits else now), len(hits)

    def check(self) -> bool:
        """Whether the store answers."""
        try:
            _state().store.ping()
        except SharedStateError:
            return False
        return True

    def reset(self) -> int | None:
        """Forget all hits of all clients."""
        _state().clear()
        return None

    def clear(self, key: str) -> None:
        """Forget the hits under a key."""
        _state().delete(fit_key(key))


def _state() -> State:
    state: State = current_app.extensions["sharedstate"].state
    return state.namespace("limits", JSONCodec())
