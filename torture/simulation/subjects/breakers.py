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
    """What the breaker has to know, by what has come back from the network.

    A thread may be interrupted between looking and sending, and between a reply and noting it: for
    a moment it may be open and it may be closed.
    """

    def __init__(self) -> None:
        self.open_since = inf
        """Since when it is open for certain."""
        self.perhaps_since = inf
        """Since when it may be open."""
        self.failed = self.tried = self.closed = -inf
        """When a call failed, one was let through to try, and it was closed for certain."""

    def is_open(self, when: float) -> bool:
        """Whether every call that was begun then has seen that it is open."""
        return when > self.open_since + TOLERANCE

    def is_closed(self, when: float) -> bool:
        """Whether no call that was begun then can have seen it open."""
        return self.perhaps_since == inf and when > self.closed + TOLERANCE

    def fail(self, now: float) -> None:
        """A call has failed."""
        self.failed = now
        self.open_since = min(self.open_since, now)
        self.perhaps_since = min(self.perhaps_since, now)

    def succeed(self, now: float, began: float, was_open: bool) -> None:
        """A call has succeeded; it closes the circuit if it has seen it open."""
        if began >= self.perhaps_since or began <= self.closed + TOLERANCE:
            self.open_since, self.tried = inf, -inf
            if was_open:
                is_clear = now > self.failed + TOLERANCE
                self.perhaps_since = inf if is_clear else self.failed
                self.closed = now

    def send(self, now: float) -> str | None:
        """A call is sent; returns what is wrong with that."""
        since, before = now - self.failed, now - self.tried
        if not self.is_open(now) or since < TOLERANCE:
            return None
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
        self.wrong = self.wrong or self.circuit.send(began)
        was_open = self.circuit.is_open(began)
        try:
            result = self.results[operation] = super()._call(keys, method, *arguments)
        except StoreUnavailable as error:
            self.results[operation] = error
            self.circuit.fail(scheduler.now)
            raise
        self.circuit.succeed(scheduler.now, began, was_open)
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
            pause = self.simulation.random() * 0.5
            if self.simulation.random() < 0.7:  # Several come at the same moment.
                pause = TOGETHER - self.simulation.now % TOGETHER
            self.simulation.sleep(pause)

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
