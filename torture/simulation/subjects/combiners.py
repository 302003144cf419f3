"""The combiner: each caller has its own result, once; and only what was sent is unknown."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from math import inf
from typing import Any

from sharedstate import Overloaded, SharedStateError, StoreUnavailable
from sharedstate.stores.base import Store
from sharedstate.stores.combining import Combining
from sharedstate.stores.operations import Add, Each, Get, Increment, Operation

from ..disturbances import RATES
from ..network import Network, Server
from ..scheduler import Process
from ..simulation import Simulation, Subject

THREADS = 5
CALLS = 6
LONGEST = 3.0
"""How many times its time-out the store may take to fail, as it is documented."""
LONGEST_PAUSE = 0.25
"""For how long nobody goes to the store although somebody waits: all may be interrupted."""

NEVER_SENT = "the thread that does it together with others does not return"


class _Watched(Network):
    """Keeps which operations were sent in a call of unknown outcome."""

    def __init__(self, server: Server) -> None:
        super().__init__(server)
        self.unknown: set[Operation] = set()
        self.calls: dict[object, tuple[float, float]] = {}
        """When each began and ended."""

    def _call(self, keys: Sequence[bytes], method: Callable[..., Any], *arguments: Any) -> Any:
        began, call = self.server.scheduler.now, object()
        self.calls[call] = began, inf
        try:
            return super()._call(keys, method, *arguments)
        except StoreUnavailable as error:
            if error.outcome_unknown:
                (_, operation) = arguments
                steps = operation.steps if isinstance(operation, Each) else [((), operation)]
                self.unknown.update(step for _, step in steps)
            raise
        finally:
            self.calls[call] = began, self.server.scheduler.now

    def longest_pause(self, began: float, ended: float) -> float:
        """For how long nobody asked the server, at most."""
        longest = 0.0
        for first, last in sorted([*self.calls.values(), (ended, ended)]):
            if last > began:
                longest = max(longest, min(first, ended) - began)
                began = last
        return longest


class Combiners(Subject):
    """Threads of one process, some of which do not wait for their results."""

    kinds = tuple(kind for kind in RATES if kind not in ("stalled", "stopped", "killed"))

    def run(self, simulation: Simulation) -> None:
        self.simulation = simulation
        self.network = _Watched(simulation.server)
        self.applied: dict[Operation, list[Any]] = defaultdict(list)
        self.outcomes: dict[Operation, list[Any]] = defaultdict(list)
        self.began: dict[Operation, float] = {}
        simulation.server.watchers.append(self.watch)
        store = self.make(self.network)
        process = Process("a")
        tasks = [
            simulation.start(process, partial(self.client, store, name), name)
            for name in (f"a{number}" for number in range(THREADS))
        ]
        for task in tasks:
            task.join()
        simulation.sleep(10)  # For what is late, and for those that do not wait.
        for operation in self.began:
            self.judge(operation)

    def make(self, network: Network) -> Store:
        return Combining(network)

    def watch(
        self, keys: Sequence[bytes], operation: Operation, result: Any, error: BaseException | None
    ) -> None:
        self.applied[operation].append(result if error is None else error)

    def client(self, store: Store, name: str) -> None:
        for _ in range(CALLS):
            operation = self.choose()
            self.began[operation] = self.simulation.now
            if self.simulation.random() < 0.3:
                store.submit((b"visits",), operation, partial(self.done, operation))
            else:
                self.call(store, operation)
            self.simulation.sleep(self.simulation.random() * 0.01)

    def choose(self) -> Operation:
        """One that always works, one that reads, one that is refused now and then, or always."""
        kinds = [Increment(1), Get(), Increment(1, maximum=9), Add(b"0", 0)]
        return kinds[int(self.simulation.random() * len(kinds))]

    def call(self, store: Store, operation: Operation) -> None:
        try:
            self.done(operation, store.transact((b"visits",), operation), None)
        except SharedStateError as error:
            self.done(operation, None, error)

    def done(self, operation: Operation, result: Any, error: BaseException | None) -> None:
        self.outcomes[operation].append(result if error is None else error)
        self.simulation.check(not isinstance(result, Exception), f"{result!r} is returned")
        now, timeout = self.simulation.now, self.network.timeout
        took = now - self.began[operation]
        is_in_time = took <= LONGEST * timeout + 0.1
        self.simulation.check(is_in_time, f"an operation has taken {took:.2f} s")
        if isinstance(error, Overloaded):
            pause = self.network.longest_pause(now - timeout, now)
            was_busy = pause < LONGEST_PAUSE
            self.simulation.check(was_busy, f"one waited while nobody worked for {pause:.2f} s")

    def judge(self, operation: Operation) -> None:
        """Whether what the caller was told is what has happened."""
        outcomes, applied = self.outcomes[operation], self.applied[operation]
        what = f"{operation} is told {outcomes} and was {applied}"
        self.simulation.check(len(outcomes) == 1, f"not one result: {what}")
        (outcome,) = outcomes
        if not operation.writes:
            return
        self.simulation.check(len(applied) <= 1, f"applied twice: {what}")
        if isinstance(outcome, StoreUnavailable) and outcome.outcome_unknown:
            was_sent = operation in self.network.unknown or NEVER_SENT in str(outcome)
            self.simulation.check(was_sent, f"unknown, and was not sent: {what}")
        elif isinstance(outcome, SharedStateError):
            is_refused = all(isinstance(other, SharedStateError) for other in applied)
            self.simulation.check(is_refused, f"has failed, and was applied: {what}")
        else:
            self.simulation.check(applied == outcomes, f"another result: {what}")
