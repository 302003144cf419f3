"""Cached results: what decorators and the template tag store, apart from the state."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ..errors import InvalidKey, StoreFull, ValueTooLarge
from ..keyspace.arguments import Timeout, checked_key
from ..keyspace.eviction import NAMESPACE, shrink
from ..state import State

logger = logging.getLogger(__name__)


class ResultKey(str):
    """The key under which a decorator or the template tag stores a result."""

    __slots__ = ()


class StaleKey(ResultKey):
    """The key of a result that one caller computes anew in its last seconds."""

    __slots__ = ("seconds",)
    seconds: float


def fit_key(key: str, stale: float = 0) -> ResultKey:
    """The key of a cached result: the key itself where it is allowed, or a hash of it.

    :param stale: in how many last seconds of its life one caller computes it anew.
    """
    try:
        checked_key(key)
    except InvalidKey:
        digest = hashlib.sha256(key.encode(errors="surrogatepass")).hexdigest()
        key = f"sha256-{digest}"
    if not stale:
        return ResultKey(key)
    result_key = StaleKey(key)
    result_key.seconds = stale
    return result_key


class Results(State):
    """Cached results: they expire, and the oldest make room where it is needed.

    :param threshold: how many there may be, about; 0 for any number.
    """

    def __init__(self, state: State, *, default_timeout: float, threshold: int) -> None:
        super().__init__(
            state.store,
            codec=state.codec,
            prefix=state.key_prefix,
            default_timeout=default_timeout,
            max_value_bytes=state.max_value_bytes,
            namespace=NAMESPACE,
        )
        self.keyspace = replace(self.keyspace, holds_results=True)
        # A store whose listing looks at every key of everybody's is bounded by its own settings.
        listing_is_cheap = "keys" in self.store.can and not state.store.has_client
        self._threshold = threshold if listing_is_cheap else 0
        self._between_looks = max(threshold // 8, 1)
        self._writes = 0
        self._warned = False

    def set(self, key: str, value: Any, timeout: Timeout = None) -> bool:
        """Keep the result, or say once in the log why such results are not kept."""
        try:
            super().set(key, value, timeout)
        except (StoreFull, ValueTooLarge) as error:
            self._give_up((key,), error)
            return False
        self._keep_to_threshold(1)
        return True

    def set_many(self, mapping: Mapping[str, Any], timeout: Timeout = None) -> list[str]:
        """Like :meth:`set`, for all or none of them."""
        try:
            kept = super().set_many(mapping, timeout)
        except (StoreFull, ValueTooLarge) as error:
            self._give_up(tuple(mapping), error)
            return []
        self._keep_to_threshold(len(mapping))
        return kept

    def clear(self) -> bool:
        """Remove all results and nothing else; returns ``True``."""
        if self.store.has_client:  # Its results are beside the state.
            self.delete_prefix("")
            return True
        return super().clear()

    def _keep_to_threshold(self, written: int) -> None:
        if not self._threshold:
            return
        # Of two threads that come at once both may look, or neither until the next write.
        due = self._writes % self._between_looks + written >= self._between_looks
        self._writes += written
        if due:
            shrink(self.store, self.key_prefix, self._threshold)

    def _give_up(self, keys: Sequence[str], error: Exception) -> None:
        if not self._warned:
            self._warned = True
            logger.warning("%r is not cached, nor are others like it: %s", keys[0], error)
        self.delete_many(*keys)  # What they hold is older than what is not kept.
