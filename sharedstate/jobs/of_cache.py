"""What a :class:`~sharedstate.Cache` lets happen once, or so many times at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..locks.semaphore import Semaphore

if TYPE_CHECKING:
    from ..state import State


class Jobs:
    """Methods for what all processes do together on the store of the current application."""

    if TYPE_CHECKING:

        @property
        def state(self) -> State: ...

    def semaphore(
        self, name: str, limit: int, lease: float = 30, wait: float = 10, *, renew: bool = False
    ) -> Semaphore:
        """Return a semaphore that ``limit`` clients at a time hold, not yet acquired.

        ::

            with cache.semaphore("reports", limit=3):
                write_report()

        Waiters get it in the order in which they came.

        :param limit: from 1 to 256; the same for all that use this name.
        :param lease: seconds, from 0.01 to a day, after which a place is free unless renewed.
        :param wait: how many seconds to wait for others to release it; 0 tries once.
        :param renew: whether it is renewed in the background while it is held.
        :raises InvalidKey: if the name is not one that a key of two to four characters more may
            have.
        :raises ValueError: if the limit or the lease is out of its bounds.
        """
        return Semaphore(self.state, name, limit, lease=lease, wait=wait, renew=renew)
