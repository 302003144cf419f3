"""The circuit breaker: opens, lets one through to try, and changes nothing that it lets through."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf
from typing import Any

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
TOGETHER = 0.25
TOLERANCE = 0.02
"""For threads that are interrupted between looking and sending."""


class _Circuit:
    """What the breaker has to know, by what has come back from the network."""

    def __init__(self) -> None:
        self.opened: float | None = None
        """Since when it is open."""
        self.failed = self.tried = self.closed = -inf
        """When the last call failed, the last one was let through to try, and it was closed."""

    def end(self, began: float, now: float, is_failure: bool) -> None:
        """A call has ended; one that began while it was closed does not close it."""
        if is_failure:
            self.failed = now
            self.opened = now if self.opened is None else self.opened
        elif self.opened is not None and began >= self.opened:
            is_certain = began > self.opened + TOLERANCE
            self.opened, self.tried, self.closed = None, -inf, now if is_certain else inf

    def is_closed(self, now: float) -> bool:
        """Whether it certainly lets all calls through."""
        return self.opened is None and now > self.closed + TOLERANCE

    def try_once(self, now: float) -> str | None:
        """A call is sent; returns what is wrong with that."""
        if self.opened is None or now - self.failed < TOLERANCE:
            return None
        since, before = now - self.failed, now - self.tried
        self.tried = now
        if since < PROBE_SECONDS - TOLERANCE:
            return f"a call is sent {since:.3f} s after a failure"
        if before < PROBE_SECONDS - TOLERANCE:
            return f"a second call is sent to try, {before:.3f} s after the first"
        return None


class _Watched(Network):
    """Keeps what was sent, and what came of it."""

    def __init__(self, server: Server) -> None:
        super().__init__(server)
        self.circuit = _Circuit()
        self.sent: list[Operation] = []
        self.results: dict[Operation, Any] = {}
        self.wrong: str | None = None

    def _call(self, keys: Sequence[bytes], method: Callable[..., Any], *arguments: Any) -> Any:
        scheduler, operation = self.server.scheduler, arguments[1]
        began = scheduler.now
        self.sent.append(operation)
        self.wrong = self.wrong or self.circuit.try_once(began)
        try:
            result = self.results[operation] = super()._call(keys, method, *arguments)
        except StoreUnavailable as error:
            self.results[operation] = error
            self.circuit.end(began, scheduler.now, is_failure=True)
            raise
        self.circuit.end(began, scheduler.now, is_failure=False)
        return result


class Breakers(Subject):
    """Threads of one process increment, each by an operation of its own."""

    kinds = tuple(kind for kind in RATES if kind not in ("stalled", "stopped", "killed", "full"))

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
            pause = self.simulation.random()
            if pause < 0.5:  # Several come at the same moment.
                pause = TOGETHER - self.simulation.now % TOGETHER
            self.simulation.sleep(pause / 2)

    def increment(self, store: Store) -> bool:
        """Increment, and judge what became of it; returns whether it was done."""
        operation, began = Increment(1), self.simulation.now
        is_closed = self.network.circuit.is_closed(began)
        result: Any
        try:
            result = store.transact((b"visits",), operation)
        except StoreUnavailable as error:
            result = error
        times = self.network.sent.count(operation)
        self.simulation.check(times <= 1, f"one call was sent {times} times")
        self.simulation.check(self.network.wrong is None, str(self.network.wrong))
        if times:
            expected = self.network.results[operation]
            self.simulation.check(result is expected, f"{result!r} instead of {expected!r}")
        else:
            is_refused = isinstance(result, StoreUnavailable) and not result.outcome_unknown
            self.simulation.check(is_refused, f"{result!r} for what was not sent")
            has_failed = self.network.circuit.failed >= began - TOLERANCE
            self.simulation.check(has_failed or not is_closed, "refused while all is well")
        return not isinstance(result, StoreUnavailable)
