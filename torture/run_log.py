"""The log of a run: what all clients saw, by epoch and key, until it is judged, and the faults."""

from __future__ import annotations

import math
import threading
from collections import Counter
from dataclasses import dataclass, field

from .clients.calls import REFUSED, Done
from .clients.records import Begun
from .judging.linearizability import Event

READS = ("get", "has")


@dataclass
class Fault:
    """What a nemesis did, in seconds of the monotonic clock.

    :param recovered: when the first change succeeded that had begun after the end.
    """

    nemesis: str
    target: str
    began: float
    ended: float = math.inf
    recovered: float = math.inf
    has_recovered: threading.Event = field(default_factory=threading.Event, repr=False)


@dataclass
class Epoch:
    """The histories of the keys of an epoch, and the faults that fell into it."""

    number: int
    histories: dict[str, list[Event]] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)

    @property
    def size(self) -> int:
        return sum(map(len, self.histories.values()))


@dataclass
class Counts:
    """What is counted over a whole run."""

    outcomes: Counter[str] = field(default_factory=Counter)
    operations: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    longest_stall: float = 0.0
    wrong: list[str] = field(default_factory=list)


class RunLog:
    """How calls ended. One thread writes it, and a thread of nemeses adds the faults."""

    def __init__(self) -> None:
        self.counts = Counts()
        self.epochs: dict[int, Epoch] = {}
        self.faults: list[Fault] = []
        self.current_fault: Fault | None = None

    def open(self, number: int) -> Epoch:
        """The epoch of a number, a new one if there is none."""
        if number not in self.epochs:
            self.epochs[number] = Epoch(number)
            if self.current_fault is not None:
                self.epochs[number].faults.append(self.current_fault)
        return self.epochs[number]

    def add_fault(self, fault: Fault) -> None:
        """A fault begins: it falls into all epochs that are open now, and into new ones."""
        self.faults.append(fault)
        self.current_fault = fault
        for epoch in list(self.epochs.values()):
            epoch.faults.append(fault)

    def add_completed(
        self, client: str, begun: Begun, done: Done, started: float, ended: float
    ) -> None:
        """A call has a response."""
        counts = self.counts
        counts.outcomes[done.outcome] += 1
        if done.outcome in ("refused", "unknown"):
            counts.errors[done.error] += 1
        if done.outcome == "ok":
            self._log_results(client, begun, done, started, ended)
            if any(part.operation not in READS for part in begun.parts):
                self._log_recovery(started, ended)
        elif done.outcome != "refused":
            self.add_unknown(client, begun)
        if done.outcome == "wrong" and len(counts.wrong) < 10:
            counts.wrong.append(done.error)

    def _log_results(
        self, client: str, begun: Begun, done: Done, started: float, ended: float
    ) -> None:
        histories = self.open(begun.epoch).histories
        for (key, operation, argument), result in zip(begun.parts, done.results, strict=True):
            self.counts.operations[operation] += 1
            if result != REFUSED:
                event = Event(client, operation, argument, result, started, ended)
                histories.setdefault(key, []).append(event)

    def add_unknown(self, client: str, begun: Begun) -> None:
        """A call has no response, or one that leaves open whether it had an effect."""
        histories = self.open(begun.epoch).histories
        for key, operation, argument in begun.parts:
            if operation not in READS:
                event = Event(client, operation, argument, None, begun.at, math.inf)
                histories.setdefault(key, []).append(event)

    def _log_recovery(self, started: float, ended: float) -> None:
        fault = self.current_fault
        if fault is not None and fault.ended < started:
            fault.recovered = ended
            self.current_fault = None
            fault.has_recovered.set()
