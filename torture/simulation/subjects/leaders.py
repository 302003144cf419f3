"""Leaders: one at a time, each with a higher fence, and one again when nothing goes wrong."""

from __future__ import annotations

from functools import partial

from sharedstate import State
from sharedstate.jobs.leader import Leader

from ..disturbances import OF_THREADS
from ..scheduler import Process
from ..simulation import QUIET_AFTER, Simulation, Subject

CANDIDATES = 3
LEASE = 0.6
LOOK_SECONDS = 0.05
SETTLED = QUIET_AFTER + 6 * LEASE


class Leaders(Subject):
    """Candidates in processes of their own, and somebody who looks at all of them."""

    def run(self, simulation: Simulation) -> None:
        self.simulation = simulation
        self.candidates: list[tuple[Process, Leader]] = []
        self.fence = 0
        self.leading: set[str] = set()
        """Those that were told that they lead, and not yet that they do not."""
        for number in range(CANDIDATES):
            process = Process(chr(ord("a") + number))
            leader = self.make(simulation.state(), process.name)
            self.candidates.append((process, leader))
            simulation.start(process, leader.start)
        while simulation.now < SETTLED:
            simulation.sleep(LOOK_SECONDS)
            self.look()
        alive = [process for process, _ in self.candidates if not process.is_dead]
        simulation.check(not alive or len(self.leaders()) == 1, "nobody leads")

    def make(self, state: State, name: str) -> Leader:
        began, ended = partial(self.begin, name), partial(self.end, name)
        return Leader(lambda: state, "scheduler", LEASE, on_start=began, on_stop=ended)

    def begin(self, name: str) -> None:
        """One has become the leader."""
        (leader,) = (leader for process, leader in self.candidates if process.name == name)
        self.look()
        with self.simulation.instant():
            is_leader = leader.is_leader
        if is_leader:
            self.simulation.note(f"{name} leads with fence {leader.fence}")
            self.simulation.check(leader.fence > self.fence, f"the fence {leader.fence} is not new")
            self.fence = leader.fence

        if not any(each.kind in OF_THREADS for each in self.simulation.scheduler.disturbances):
            untold = f"{self.leading} were not told before {name} leads"
            self.simulation.check(not self.leading, untold)
        self.leading.add(name)

    def end(self, name: str) -> None:
        """One is the leader no more."""
        self.leading.discard(name)
        self.look()

    def look(self) -> None:
        leaders = self.leaders()
        self.simulation.check(len(leaders) <= 1, f"{' and '.join(leaders)} lead at once")

    def leaders(self) -> list[str]:
        """Those that are certain that they lead."""
        with self.simulation.instant():
            return [process.name for process, leader in self.candidates if leader.is_leader]
