"""What stops at a bound: counters that saturate."""

from __future__ import annotations

from ..errors import NotACounter
from ..keyspace.arguments import Timeout
from ..stores.operations import KEEP, Increment, Swap, parse_counter
from .changes import Changes


class Bounded(Changes):
    """The operations of a state that go as far as a bound lets them."""

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
