"""A rate limit that is one number: the time at which all hits so far have been given back.

The generic cell rate algorithm (GCRA). Each hit takes ``per / limit`` seconds, from now or from
the end of the hits before it, and one that would end later than ``per`` seconds from now is
refused::

    4 per 60 seconds    now ├─ hit 15 s ─┼─ hit 15 s ─┤ until                  ┤ now + 60
    another hit         now ├─ hit 15 s ─┼─ hit 15 s ─┼─ hit 15 s ─┤ until     ┤ now + 60
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import timedelta

from ..keyspace import Item
from ..keyspace.arguments import MAX_TIMEOUT, checked_integer, checked_seconds
from ..state import State

_SECOND = 1_000_000  # The number counts microseconds.
_POLICY = '"default"'


@dataclass(frozen=True, slots=True)
class Allowance:
    """What a rate limit has said of a hit; true if the hit is allowed."""

    allowed: bool
    """Whether it is; if not, nothing has changed."""
    limit: int
    """How many hits are allowed."""
    per: float
    """In how many seconds."""
    remaining: int
    """How many more would be allowed now."""
    retry_after: float
    """Seconds until this one would be allowed; 0 if it is."""
    reset: float
    """Seconds until all of ``limit`` are allowed again, if nobody hits before."""

    def __bool__(self) -> bool:
        return self.allowed

    def headers(self) -> dict[str, str]:
        """Return it as headers of a response.

        :returns: ``RateLimit`` and ``RateLimit-Policy``, as
            draft-ietf-httpapi-ratelimit-headers-10 has them, and ``Retry-After`` if the hit is not
            allowed.
        """
        window = max(math.ceil(self.per), 1)
        headers = {
            "RateLimit-Policy": f"{_POLICY};q={self.limit};w={window}",
            "RateLimit": f"{_POLICY};r={self.remaining};t={math.ceil(self.reset)}",
        }
        if not self.allowed:
            headers["Retry-After"] = str(max(math.ceil(self.retry_after), 1))
        return headers


class Rate:
    """So many hits in so many seconds: one in a hundred years to a million a second.

    :raises TypeError: if one of the two is no number.
    :raises ValueError: if it is out of its bounds.
    """

    def __init__(self, limit: int, per: float | timedelta) -> None:
        seconds = checked_seconds(per)
        if not 1 <= checked_integer("limit", limit) <= seconds * _SECOND:
            raise ValueError(
                f"a limit is 1 to a million hits a second, not {limit} in {seconds} seconds"
            )
        self.limit = limit
        self.seconds = seconds
        # Rounded up, so that never more than the limit pass in the long run.
        self._interval = math.ceil(seconds * _SECOND / limit)
        self._burst = limit * self._interval
        # The record stays a second longer than its number can lie ahead.
        self._lifetime = min(self._burst / _SECOND + 1, MAX_TIMEOUT)

    def hit(self, state: State, name: str, cost: int = 1) -> Allowance:
        """Let a hit through if the limit allows it, in one step among all that share the store.

        :param name: who or what is limited; other limits of the same name count together.
        :param cost: as how many hits it counts, from 1 to ``limit``.
        :raises InvalidKey: if the name is not one that a key may have.
        :raises ValueError: if the cost is out of its bounds.
        """
        self.checked_cost(cost)
        taken, now = cost * self._interval, 0
        clock = state.store.clock

        def change(item: Item | None) -> int:
            nonlocal now
            now = int(clock() * _SECOND)
            until = max(item.value, now) if item else now
            if until + taken > now + self._burst:
                raise _Refused(until)
            return until + taken

        hits = state.namespace("limit")
        try:
            until = hits.revise(name, change, timeout=self._lifetime)
        except _Refused as refused:
            return self._allowance(refused.until, now, cost, allowed=False)
        return self._allowance(until, now, cost, allowed=True)

    def checked_cost(self, cost: int) -> int:
        """The cost, if a hit may have it; :exc:`ValueError` or :exc:`TypeError` if not."""
        if not 1 <= checked_integer("cost", cost) <= self.limit:
            raise ValueError(f"a hit costs 1 to {self.limit}, its limit, not {cost}")
        return cost

    def _allowance(self, until: int, now: int, cost: int, *, allowed: bool) -> Allowance:
        left = now + self._burst - until
        return Allowance(
            allowed,
            self.limit,
            self.seconds,
            max(left // self._interval, 0),
            0 if allowed else (cost * self._interval - left) / _SECOND,
            (until - now) / _SECOND,
        )


class _Refused(Exception):
    def __init__(self, until: int) -> None:
        self.until = until
