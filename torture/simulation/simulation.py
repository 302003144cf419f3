"""One run: a subject, a seed, and what came of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, NoReturn

from sharedstate import State
from sharedstate.stores.base import Store
from sharedstate.stores.combining import Combining
from sharedstate.stores.guards.breaker import Breaker

from .disturbances import RATES, Disturbance, Rates, swarm
from .interruptions import interruptible
from .network import Network, Server
from .scheduler import Process, Scheduler, Task, Violation, current
from .substitution import substituted

QUIET_AFTER = 5.0
"""The virtual time after which nothing goes wrong any more."""


class Subject(ABC):
    """What is simulated, and what has to hold of it; one object a run."""

    kinds: ClassVar[tuple[str, ...]] = tuple(kind for kind in RATES if kind != "full")
    """Which disturbances there can be."""

    driver: Any = Network
    """Makes what leads from a process to the server."""

    @abstractmethod
    def run(self, simulation: Simulation) -> None:
        """Start clients, wait for them, and raise :exc:`Violation` if something does not hold."""


class Simulation:
    """What a subject works with: processes on one server, in one run."""

    def __init__(self, scheduler: Scheduler, driver: Callable[[Server], Store] = Network) -> None:
        self.scheduler = scheduler
        self.server = Server(scheduler)
        self._driver = driver
        self.server.drift()

    @property
    def now(self) -> float:
        return self.scheduler.now

    @property
    def is_quiet(self) -> bool:
        """Whether nothing goes wrong any more."""
        return self.now >= QUIET_AFTER

    def store(self) -> Store:
        """A store as the library opens it, for one process."""
        return Breaker(Combining(self._driver(self.server)))

    def state(self) -> State:
        """A state on such a store."""
        return State(self.store())

    def start(self, process: Process, function: Callable[[], object], name: str = "") -> Task:
        """Start a task of a process."""
        return self.scheduler.spawn(process, name or process.name, function)

    def each(self, number: int, client: Callable[[State, str], object], threads: int = 1) -> None:
        """Let clients run in processes ``a``, ``b``, … until all have ended or are dead."""
        tasks = []
        for index in range(number):
            process = Process(chr(ord("a") + index))
            state = self.state()
            for thread in range(threads):
                name = f"{process.name}{thread + 1}" if threads > 1 else process.name
                tasks.append(self.start(process, partial(client, state, name), name))
        for task in tasks:
            task.join()

    def sleep(self, seconds: float) -> None:
        """Let the task that runs wait."""
        task = current()
        assert task is not None
        task.sleep(seconds)

    def random(self) -> float:
        """A number from 0 to 1, of the task that runs."""
        task = current()
        assert task is not None
        return task.random.random()

    @contextmanager
    def instant(self) -> Iterator[None]:
        """Let no time pass while somebody looks at what the code under test says."""
        task = current()
        assert task is not None
        task.is_observer = True
        try:
            yield
        finally:
            task.is_observer = False

    def note(self, text: str) -> None:
        """Add a line to the trace."""
        self.scheduler.note(text)

    def check(self, holds: bool, otherwise: str) -> None:
        """Raise :exc:`Violation`, and end the run, unless something holds."""
        if not holds:
            self.fail(otherwise)

    def fail(self, text: str) -> NoReturn:
        violation = Violation(text)
        self.scheduler.fail(violation, f"VIOLATION: {text}")
        raise violation


@dataclass(frozen=True)
class Outcome:
    """What a run has shown."""

    seed: int
    failure: str | None
    disturbances: list[Disturbance]
    trace: list[str]
    steps: int
    seconds: float
    """How long it was, in virtual time."""


def simulate(
    subject: type[Subject],
    seed: int,
    chosen: frozenset[Disturbance] | None = None,
    is_traced: bool = False,
) -> Outcome:
    """Run a subject once.

    :param seed: the same one gives the same run.
    :param chosen: the disturbances that happen; left out, all that the seed draws.
    :param is_traced: whether the outcome has a trace.
    """
    text = f"{seed}"
    scheduler = Scheduler(text, swarm(text, subject.kinds), chosen, is_traced)
    run = subject()
    simulation = Simulation(scheduler, run.driver)
    scheduler.call(QUIET_AFTER, lambda: setattr(scheduler, "rates", Rates({})))
    with substituted(), interruptible():
        scheduler.run(lambda: run.run(simulation))
    error = scheduler.failure
    failure = None
    if error is not None:
        failure = str(error) if isinstance(error, Violation) else repr(error)
    trace = scheduler.trace or []
    return Outcome(seed, failure, scheduler.disturbances, trace, scheduler.steps, scheduler.now)
