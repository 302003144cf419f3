"""Locks: one certain holder at a time, and no stale write where fences are checked."""

from __future__ import annotations

from contextlib import suppress

from sharedstate import LockLost, LockTimeout, State, StoreUnavailable
from sharedstate.locks.held import Held
from sharedstate.locks.lock import Lock

from ..simulation import QUIET_AFTER, Simulation, Subject

CLIENTS = 3
LEASE = 0.5
SETTLED = QUIET_AFTER + 3
"""When nothing is on its way any more that was sent before it became quiet."""
LONGEST_WAIT = 4.0


class Locks(Subject):
    """Clients take a lock and write to something that refuses a fence lower than it has seen."""

    limit = 1
    """How many may hold it at once."""

    def run(self, simulation: Simulation) -> None:
        self.simulation = simulation
        self.held: list[tuple[int, Held]] = []
        """All that was held, with the number of the holder."""
        self.seen = 0
        """The highest fence that the resource has seen."""
        self.last_write = 0
        """The number of the holder that has written last."""
        simulation.each(CLIENTS, self.client)

    def make(self, state: State, wait: float) -> Held:
        """What a client takes."""
        return state.lock("door", LEASE, wait, renew=self.simulation.random() < 0.3)

    def client(self, state: State, name: str) -> None:
        while not self.simulation.is_quiet:
            self.turn(state, self.simulation.random() * 3)
        self.simulation.sleep(SETTLED - self.simulation.now)
        if not self.turn(state, LONGEST_WAIT):
            self.simulation.fail(f"{name} waits for longer than {LONGEST_WAIT} s")

    def turn(self, state: State, wait: float) -> bool:
        """Take it, write, release it; returns whether it was taken."""
        held = self.make(state, wait)
        try:
            held.acquire()
        except (LockTimeout, StoreUnavailable):
            self.simulation.sleep(0.05 + self.simulation.random() * 0.2)
            return False
        self.hold(held)
        with suppress(LockLost, StoreUnavailable):
            held.release()
        self.simulation.sleep(self.simulation.random() * 0.2)
        return True

    def hold(self, held: Held) -> None:
        with self.simulation.instant():
            is_held = held.is_held
        if not is_held:
            return
        number = len(self.held) + 1
        self.held.append((number, held))
        self.check_holders()
        for _ in range(2):
            self.simulation.sleep(self.simulation.random() * LEASE * 0.7)
            self.check_holders()
            if isinstance(held, Lock):
                self.write(number, held)

    def check_holders(self) -> None:
        """No more are certain that they hold it than may."""
        with self.simulation.instant():
            certain = [f"{number}" for number, held in self.held if held.is_held]
        at_once = f"{' and '.join(certain)} hold it at once"
        self.simulation.check(len(certain) <= self.limit, at_once)

    def write(self, number: int, lock: Lock) -> None:
        """Write to the resource, as a holder that may have lost the lock and not know it."""
        with self.simulation.instant():
            fence, is_certain = lock.fence, lock.is_held
        if fence < self.seen:
            self.simulation.note(f"holder {number} writes with fence {fence}: refused")
            self.simulation.check(not is_certain, f"holder {number} was refused")
            return
        self.simulation.note(f"holder {number} writes with fence {fence}: accepted")
        out_of_order = f"holder {number} has written after holder {self.last_write}"
        self.simulation.check(number >= self.last_write, out_of_order)
        self.seen, self.last_write = fence, number
