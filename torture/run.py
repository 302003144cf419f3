"""One store under its nemeses: clients, faults and judging at the same time."""

from __future__ import annotations

import math
import random
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path

from sharedstate import State

from .clients.clocks import Clocks
from .clients.epoch import Epoch
from .clients.processes import ClientProcesses
from .clients.worker import WorkerConfig
from .judging.judge import Judge, Verdicts
from .nemeses.nemesis import Nemesis, Targets
from .nemeses.schedule import Schedule
from .run_log import Counts, Fault, RunLog
from .servers.deployment import Deployment

WARM_UP = 100
WARM_UP_SECONDS = 60
READ_SECONDS = 0.05


@dataclass(frozen=True)
class Load:
    """What is asked, and for how long.

    :param seconds: at least, until each nemesis has injected a fault.
    :param events: how many there are before clients go on to fresh keys; thrice that in a fault.
    :param quiet: seconds between faults, at least and at most.
    :param most: how many operations end the run.
    :param operations: those that clients do; all if there are none.
    :param stops_early: whether the first violation ends the run.
    """

    seconds: float = 10.0
    seed: str = "1"
    processes: int = 2
    threads: int = 4
    broken: str = ""
    events: int = 600
    quiet: tuple[float, float] = (0.2, 0.6)
    most: float = math.inf
    operations: Sequence[str] = ()
    stops_early: bool = False


@dataclass(eq=False)
class Result:
    """What came of a run."""

    store: str
    seconds: float = 0.0
    counts: Counts = field(default_factory=Counts)
    verdicts: Verdicts = field(default_factory=Verdicts)
    faults: list[Fault] = field(default_factory=list)
    crashes: int = 0
    skipped: str = ""
    failed: str = ""
    left_out: dict[str, str] = field(default_factory=dict)

    @property
    def operations(self) -> int:
        """The calls that were made and not refused."""
        return self.counts.outcomes.total() - self.counts.outcomes["refused"]

    @property
    def is_good(self) -> bool:
        """Whether nothing was found that should not be."""
        is_wrong = self.verdicts.violated or self.counts.wrong or self.crashes or self.failed
        return not is_wrong


def run(
    deployment: Deployment,
    nemeses: Sequence[Nemesis],
    load: Load,
    show: Callable[[Result], None] = lambda result: None,
) -> Result:
    """Torture a store that runs, and judge what its clients saw.

    :param show: is called again and again with what is known so far.
    """
    result = Result(deployment.name)
    result.left_out = {one.name: why for one in nemeses if (why := one.lacks(deployment))}
    fitting = [one for one in nemeses if one.name not in result.left_out]
    with ExitStack() as stack:
        _run(deployment, fitting, load, result, show, stack)
    return result


def _run(
    deployment: Deployment,
    nemeses: Sequence[Nemesis],
    load: Load,
    result: Result,
    show: Callable[[Result], None],
    stack: ExitStack,
) -> None:
    directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="torture-")))
    epoch = stack.enter_context(closing(Epoch.create(directory / "epoch")))
    clocks = stack.enter_context(closing(Clocks.create(directory / "clocks")))
    log = RunLog()
    result.counts, result.faults = log.counts, log.faults
    config = WorkerConfig(
        0,
        load.seed,
        load.threads,
        0,
        str(directory),
        dict(deployment.settings),
        load.broken,
        list(load.operations),
    )
    state = State.from_settings(deployment.settings) if deployment.is_shared else None
    if state is not None:
        stack.callback(state.close)
    judge = Judge(state, deployment.losses)
    stack.callback(judge.close)
    result.verdicts = judge.verdicts
    clients = ClientProcesses(config, load.processes if deployment.is_shared else 1, epoch, log)
    stack.callback(clients.close)
    clients.start_missing()
    _warm_up(clients, log)
    began = time.monotonic()
    schedule = Schedule(
        nemeses, Targets(deployment, clients, random.Random(load.seed), clocks), log, load.quiet
    )
    stack.callback(schedule.close)

    def step() -> None:
        clients.read(READ_SECONDS)
        clients.start_missing()
        _advance(epoch, log, clients, judge, load.events)
        result.seconds = time.monotonic() - began
        result.crashes = clients.crashes
        show(result)

    while not _is_over(load, result, judge, schedule):
        step()
    schedule.end()
    while not schedule.is_healed:
        step()
    clients.end()
    for number in sorted(log.epochs):
        judge.submit(log.epochs.pop(number))
    judge.close()  # Before the thread ends that has started servers again: they end with it.


def _warm_up(clients: ClientProcesses, log: RunLog) -> None:
    deadline = time.monotonic() + WARM_UP_SECONDS
    while log.counts.outcomes["ok"] < WARM_UP:
        clients.read(READ_SECONDS)
        if clients.crashes:
            raise RuntimeError("a client ended by itself: see its standard error")
        if time.monotonic() > deadline:
            raise RuntimeError(f"the store does not do what it is asked: {dict(log.counts.errors)}")


def _is_over(load: Load, result: Result, judge: Judge, schedule: Schedule) -> bool:
    return (
        (result.seconds >= load.seconds and schedule.has_injected_all)
        or result.operations >= load.most
        or (load.stops_early and judge.found.is_set())
    )


def _advance(
    epoch: Epoch, log: RunLog, clients: ClientProcesses, judge: Judge, events: int
) -> None:
    """Go on to fresh keys when there is enough to judge, and judge what nobody asks for any more.

    A fault stays within an epoch if it can: what was lost shows in what comes after it.
    """
    current = log.open(epoch.number)
    if current.size > (3 * events if log.current_fault else events):
        epoch.number += 1
    reached = clients.reached()
    for number in [number for number in sorted(log.epochs) if number < reached]:
        judge.submit(log.epochs.pop(number))
