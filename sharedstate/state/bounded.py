"""What keeps to a bound: counters that saturate, and lists that keep the last of their items."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..errors import NotACounter
from ..keyspace.arguments import Timeout, checked_integer
from ..stores.operations import KEEP, Increment, Swap, parse_counter
from .changes import Changes


class Bounded(Changes):
    """The operations of a state that keep a counter or a list to its bounds."""

    def inc_saturated(
        self,
        key: str,
        delta: int = 1,
        *,
        initial: int = 0,
        timeout: Timeout = None,
        minimum: int | None = None,
        maximum: int | None = None,
    ) -> tuple[int, int]:
        """Add to a counter as much of ``delta`` as its bounds allow, in one step.

        A counter that is beyond a bound already goes no further, and comes back by any ``delta``.

        :param delta: what is added at most; may be negative. The other parameters are those of
            :meth:`inc`.
        :returns: the new number, and what was added: from 0 to ``delta``.
        :raises NotACounter: if the key holds something else; it stays.
        """
        space = self.keyspace
        physical = space.key(key)
        increment = space.increment(delta, initial, timeout, minimum, maximum)

        def attempt() -> tuple[bool, tuple[int, int]]:
            (found,) = space.store.values((physical,))
            before = increment.initial if found is None else _number(found, key)
            after = _saturated(before, increment)
            outcome = after, after - before
            if found is not None and after == before:
                return True, outcome
            swap = Swap(found, b"%d" % after, KEEP, increment.timeout)
            swapped: bool = space.apply(key, swap)[0]
            return swapped, outcome

        return self._contended().settle(key, attempt)

    def append(
        self, key: str, *values: Any, limit: int | None = None, timeout: Timeout = None
    ) -> int:
        """Append values to a list, in one step.

        :param limit: how many items the list has at most: the last ones stay.
        :param timeout: seconds until the list expires, if this call creates it, as for :meth:`inc`.
        :returns: how many items the list has now; without ``limit`` no two callers that append
            get the same.
        :raises TypeError: if the key holds something other than a list; it stays.
        :raises ValueTooLarge: if the list would be longer than ``max_value_bytes``; it stays.
        """
        return self.extend(key, values, limit=limit, timeout=timeout)

    def extend(
        self,
        key: str,
        values: Iterable[Any],
        *,
        limit: int | None = None,
        timeout: Timeout = None,
    ) -> int:
        """Append the values of an iterable to a list, in one step, as :meth:`append` does.

        The list is stored as one value: it is for hundreds of items rather than for millions.

        :param values: without any, a missing list stays missing. The other parameters are those
            of :meth:`append`, and so are the errors.
        :returns: how many items the list has now.
        """
        if limit is not None and checked_integer("limit", limit) < 1:
            raise ValueError(f"limit must be 1 or more, not {limit}")
        space, added = self.keyspace, list(values)
        physical, seconds = space.key(key), space.seconds(timeout)

        def attempt() -> tuple[bool, int]:
            (found,) = space.store.values((physical,))
            present = [] if found is None else _list(space.decode(found, key), key)
            items = [*present, *added][-(limit or 0) :]
            if len(items) == len(present) and not added:
                return True, len(items)
            swap = Swap(found, space.encode(items, key), KEEP, seconds)
            swapped: bool = space.apply(key, swap)[0]
            return swapped, len(items)

        return self._contended().settle(key, attempt)


def _list(value: Any, key: str) -> list[Any]:
    if isinstance(value, list):
        return value
    raise TypeError(
        f"the key {key!r} holds a {type(value).__name__}, not a list; delete it, or change it by "
        "update()"
    )


def _number(raw: bytes, key: str) -> int:
    try:
        return parse_counter(raw)
    except NotACounter as error:
        error.key = key
        raise


def _saturated(number: int, increment: Increment) -> int:
    """The number after the increment, which goes no further than its bound on that side."""
    total = number + increment.delta
    if increment.delta > 0:
        return max(number, min(total, increment.maximum))
    return min(number, max(total, increment.minimum))
