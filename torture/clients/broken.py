"""Implementations with the faults that are known in the field: the proof has to catch each."""

from __future__ import annotations

from typing import Any

from sharedstate import State, StoreUnavailable

STALE_READS = 30


class GetThenSet(State):
    """Increments by reading and writing, as cachelib does."""

    def inc(self, key: str, delta: int = 1, **options: Any) -> int:
        number = self.get(key, 0)
        if type(number) is not int:
            return super().inc(key, delta, **options)
        self.set(key, number + delta)
        return int(number + delta)


class RetriesTwice(State):
    """Sends an increment again when its response is lost, as redis-py does if it is let."""

    def inc(self, key: str, delta: int = 1, **options: Any) -> int:
        try:
            return super().inc(key, delta, **options)
        except StoreUnavailable as error:
            if not error.outcome_unknown or "once" in options:
                raise
            return super().inc(key, delta, **options)


class WithoutFence(State):
    """Has locks, and no fence where it writes."""

    has_fences = False


class StaleReads(State):
    """Reads where it read before the store failed: from what it knew then, for a while."""

    _known: dict[str, Any]
    _left = 0

    def get(self, key: str, default: Any = None) -> Any:
        known = self.__dict__.setdefault("_known", {})
        if self._left > 0 and key in known:
            self._left -= 1
            return known[key]
        try:
            value = super().get(key, default)
        except StoreUnavailable:
            self._left = STALE_READS
            raise
        known[key] = value
        return value


BROKEN: dict[str, type[State]] = {
    "get-then-set": GetThenSet,
    "retry": RetriesTwice,
    "no-fence": WithoutFence,
    "stale-read": StaleReads,
}
"""The names that ``--broken`` knows."""
