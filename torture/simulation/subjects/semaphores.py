"""Semaphores: no more certain holders at a time than the limit."""

from __future__ import annotations

from sharedstate import State
from sharedstate.locks.held import Held
from sharedstate.locks.semaphore import Semaphore

from .locks import LEASE, Locks


class Semaphores(Locks):
    """Clients take one of fewer places than there are clients."""

    limit = 2

    def make(self, state: State, wait: float) -> Held:
        renew = self.simulation.random() < 0.3
        return Semaphore(state, "door", self.limit, lease=LEASE, wait=wait, renew=renew)
