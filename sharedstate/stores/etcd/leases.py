"""Leases, which let etcd remove what has ended."""

from __future__ import annotations

import math
import time

from .members import Members

_SLOT = 64
_GRACE = 60
_MOST = 256
_LONGEST = 10 * 365 * 24 * 3600.0


class Leases:
    """Leases of etcd's, shared by records that end at about the same time.

    When a record ends is in the record, to the fraction of a second. Its lease ends one to two
    minutes later, for what ends within days, and only removes it.
    """

    def __init__(self, members: Members) -> None:
        self._members = members
        self.forget()

    def forget(self) -> None:
        """Use none any more that was granted before."""
        self._granted: dict[int, tuple[int, float]] = {}

    def until(self, expires: float, now: float, deadline: float) -> int:
        """A lease that ends after a record; 0 if the record ends in too many years."""
        seconds = max(expires - now, 0.0)
        if seconds > _LONGEST:
            return 0
        # Those that end later are further apart, so that there are never many.
        width = _SLOT << max(int(math.log2(seconds / 1000 + 1)), 0)
        slot = (int(expires) // width + 1) * width
        # By a clock that is not set: what one by the other would end too early gets another lease.
        ends = time.monotonic() + seconds
        lease, lasts = self._granted.get(slot, (0, 0.0))
        if lasts < ends:
            seconds_of_slot = math.ceil(max(slot - now, 0.0)) + _GRACE
            lasts = time.monotonic() + seconds_of_slot
            lease = self.grant(seconds_of_slot, deadline)
            if len(self._granted) >= _MOST:
                self.forget()
            self._granted[slot] = lease, lasts - _GRACE / 2
        return lease

    def grant(self, seconds: int, deadline: float) -> int:
        """A new lease; one that was granted and is not used ends by itself."""
        reply = self._members.ask("lease/grant", {"TTL": str(seconds)}, deadline)
        return int(reply.message["ID"])
