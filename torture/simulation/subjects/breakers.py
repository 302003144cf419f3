"""The circuit breaker: opens, lets one through to try, and changes nothing that it lets through."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf
from typing import Any, NamedTuple

from sharedstate import StoreUnavailable
from sharedstate.stores.base import Store
from sharedstate.stores.guards.breaker import PROBE_SECONDS, Breaker
from sharedstate.stores.operations import Increment, Operation

from ..disturbances import RATES
from ..network import Network, Server
from ..scheduler import Process
from ..simulation import QUIET_AFTER, Simulation, Subject

THREADS = 4
TIMEOUT = 1.5
SETTLED = QUIET_AFTER + 2 * TIMEOUT
TOLERANCE = 0.02
"""For threads that are interrupted between looking and sending."""


class Sent(NamedTuple):
    """A call that has reached the network, and its end."""

    began: float
    ended: float
    is_failure: bool


class _Watched(Network):
    """Keeps what was sent, by when."""

    def __init__(self, server: Server) -> None:
        super().__init__(server)
        self.begun: list[tuple[float, Operation]] = []
        self.results: dict[Operation, Any] = {}
        self.ended: list[Sent] = []

    def _call(self, keys: Sequence[bytes], method: Callable[..., Any], *arguments: Any) -> Any:
        scheduler, operation = self.server.scheduler, arguments[1]
        began = scheduler.now
        self.begun.append((began, operation))
        try:
            result = self.results[operation] = super()._call(keys, method, *arguments)
        except StoreUnavailable as error:
            self.results[operation] = error
            self.ended.append(Sent(began, scheduler.now, is_failure=True))
            raise
        self.ended.append(Sent(began, scheduler.now, is_failure=False))
        return result


class Breakers(Subject):
    """Threads of one process increment, each by an operation of its own."""

    kinds = tuple(kind for kind in RATES if kind not in ("stopped", "killed", "full"))

    def run(self, simulation: Simulation) -> None:
        self.simulation = simulation
        simulation.server.records.timeout = TIMEOUT
        self.network = _Watched(simulation.server)
        store = self.make(self.network)
        process = Process("a")
        tasks = [
            simulation.start(process, lambda: self.client(store), f"a{number}")
            for number in range(THREADS)
        ]
        for task in tasks:
            task.join()
        simulation.sleep(max(SETTLED - simulation.now, 0))
        for attempt in ("the first", "the second"):
            simulation.check(self.increment(store), f"{attempt} call after all is well fails")

    def make(self, network: Network) -> Store:
        return Breaker(network)

    def client(self, store: Store) -> None:
        while not self.simulation.is_quiet:
            self.increment(store)
            self.simulation.sleep(self.simulation.random() * 0.5)

    def increment(self, store: Store) -> bool:
        """Increment, and judge what became of it; returns whether it was done."""
        operation, began = Increment(1), self.simulation.now
        result: Any
        try:
            result = store.transact((b"visits",), operation)
        except StoreUnavailable as error:
            result = error
        times = [when for when, sent in self.network.begun if sent is operation]
        self.simulation.check(len(times) <= 1, f"one call was sent {len(times)} times")
        if times:
            expected = self.network.results[operation]
            self.simulation.check(result is expected, f"{result!r} instead of {expected!r}")
            self.judge_sending(times[0])
        else:
            is_refused = isinstance(result, StoreUnavailable) and not result.outcome_unknown
            self.simulation.check(is_refused, f"{result!r} for what was not sent")
            self.judge_refusing(began)
        return not isinstance(result, StoreUnavailable)

    def judge_sending(self, when: float) -> None:
        """After a failure nothing is sent for a second, unless one that was sent has succeeded."""
        failed = max((s.ended for s in self.before(when) if s.is_failure), default=-inf)
        successes = [s for s in self.before(when + TOLERANCE) if not s.is_failure]
        is_closed = any(s.ended >= failed - TOLERANCE for s in successes)
        is_due = when >= failed + PROBE_SECONDS - TOLERANCE
        self.simulation.check(is_closed or is_due, f"sent {when - failed:.3f} s after a failure")

    def judge_refusing(self, when: float) -> None:
        """After a success that began after the last failure nothing is refused."""
        failed = max((s.ended for s in self.network.ended if s.is_failure), default=-inf)
        for sent in self.before(when):
            is_news = sent.began > failed + TOLERANCE
            self.simulation.check(sent.is_failure or not is_news, "refused after a success")

    def before(self, when: float) -> list[Sent]:
        """What had ended some time before a moment."""
        return [sent for sent in self.network.ended if sent.ended < when - TOLERANCE]
