"""``get_or_set``: all get the same value, one that somebody made, and in bounded time."""

from __future__ import annotations

from sharedstate import State, StoreUnavailable

from ..disturbances import HARMLESS
from ..scheduler import current
from ..simulation import Simulation, Subject

CLIENTS = 3
LEASE = 0.5
ROUNDS = 2


class MakeFailed(Exception):
    """What a ``make`` may raise."""


class Computing(Subject):
    """Clients ask for the same values, which take longer to make than the lease, now and then."""

    def run(self, simulation: Simulation) -> None:
        self.simulation = simulation
        self.made: dict[str, list[str]] = {f"key {number}": [] for number in range(ROUNDS)}
        self.returned: dict[str, str] = {}
        simulation.each(CLIENTS, self.client, threads=2)
        if all(each.kind in HARMLESS for each in simulation.scheduler.disturbances):
            wasted = [key for key, values in self.made.items() if len(values) > 1]
            simulation.check(not wasted, f"{wasted} were made more than once for no reason")

    def client(self, state: State, name: str) -> None:
        for key in self.made:
            while not self.ask(state, key, name):
                self.simulation.sleep(self.simulation.random() * 0.3)

    def ask(self, state: State, key: str, name: str) -> bool:
        """Ask for a value; returns whether it was returned."""
        try:
            value = self.get(state, key, name)
        except (StoreUnavailable, MakeFailed):
            return False
        self.simulation.note(f"{key} is {value}")
        self.simulation.check(value in self.made[key], f"nobody has made {value!r} of {key}")
        first = self.returned.setdefault(key, value)
        self.simulation.check(first == value, f"{key} is {first} for one and {value} for another")
        return True

    def get(self, state: State, key: str, name: str) -> str:
        """Get the value of a key, or make it."""
        return state.get_or_set(key, lambda: self.make(key, name), lease=LEASE)

    def make(self, key: str, name: str) -> str:
        """Take less time than the lease, mostly, and fail now and then."""
        task = current()
        assert task is not None
        trouble = task.chances.draw(
            [("make fails", 0.1), ("make slow", 0.1)], task.scheduler.disturbances
        )
        self.simulation.sleep(self.simulation.random() * LEASE * 0.5)
        if trouble is not None and not self.simulation.is_quiet:
            if trouble[0] == "make fails":
                raise MakeFailed
            self.simulation.sleep(2 * LEASE)
        value = f"{name} {len(self.made[key])}"
        self.made[key].append(value)
        return value
