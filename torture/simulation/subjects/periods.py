"""``cache.once(every=…)``: nobody is told that a period was done by two of them."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress

from sharedstate import SharedStateError, State
from sharedstate.jobs.once import Once
from sharedstate.jobs.period import Every

from ..simulation import QUIET_AFTER, Simulation, Subject

CLIENTS = 3
PERIOD = 0.7
LEASE = 0.4


class Periods(Subject):
    """Clients run a job whenever it is due."""

    def run(self, simulation: Simulation) -> None:
        self.simulation = simulation
        self.runs = Counter[int]()
        self.latest = 0
        simulation.each(CLIENTS, self.client)
        twice = [number for number, times in self.runs.items() if times > 1]
        simulation.check(not twice, f"done by more than one, each without an error: {twice}")

    def client(self, state: State, name: str) -> None:
        period = _Noted(PERIOD)
        job = Once(lambda: state, "job", period, LEASE)
        while self.simulation.now < QUIET_AFTER:
            with suppress(SharedStateError):
                if job.run(self.work) is not None:
                    self.simulation.note(f"{name} has done period {period.last}")
                    self.runs[period.last] += 1
            self.simulation.sleep(self.simulation.random() * 0.3)

    def work(self) -> bool:
        self.simulation.sleep(self.simulation.random() * LEASE)
        return True


class _Noted(Every):
    """Knows the number that it has returned last."""

    last = 0

    def number(self, now: float) -> int:
        self.last = super().number(now)
        return self.last
