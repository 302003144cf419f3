"""What all clients saw, by epoch and key, until it is judged."""

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
class Tally:
    """What is counted over a whole run."""

    outcomes: Counter[str] = field(default_factory=Counter)
    operations: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    longest_stall: float = 0.0
    wrong: list[str] = field(default_factory=list)


class Book:
    """Takes down how calls ended. It is written by one thread."""

    def __init__(self) -> None:
        self.tally = Tally()
        self.epochs: dict[int, Epoch] = {}
        self.faults: list[Fault] = []
        self.present: Fault | None = None

    def open(self, number: int) -> Epoch:
        """The epoch of a number, a new one if there is none."""
        if number not in self.epochs:
            self.epochs[number] = Epoch(number)
            if self.present is not None:
                self.epochs[number].faults.append(self.present)
        return self.epochs[number]

    def strike(self, fault: Fault) -> None:
        """A fault begins: it falls into all epochs that are open now, and into new ones."""
        self.faults.append(fault)
        self.present = fault
        for epoch in list(self.epochs.values()):
            epoch.faults.append(fault)

    def note(self, client: str, begun: Begun, done: Done, started: float, ended: float) -> None:
        """A call has ended."""
        tally = self.tally
        tally.outcomes[done.outcome] += 1
        if done.outcome in ("refused", "unknown"):
            tally.errors[done.error] += 1
        if done.outcome == "ok":
            self._note_results(client, begun, done, started, ended)
            if any(part.operation not in READS for part in begun.parts):
                self._note_recovery(started, ended)
        elif done.outcome != "refused":
            self.lost(client, begun)
        if done.outcome == "wrong" and len(tally.wrong) < 10:
            tally.wrong.append(done.error)

    def _note_results(
        self, client: str, begun: Begun, done: Done, started: float, ended: float
    ) -> None:
        histories = self.open(begun.epoch).histories
        for (key, operation, argument), result in zip(begun.parts, done.results, strict=True):
            self.tally.operations[operation] += 1
            if result != REFUSED:
                event = Event(client, operation, argument, result, started, ended)
                histories.setdefault(key, []).append(event)

    def lost(self, client: str, begun: Begun) -> None:
        """A call has no response, and may have had an effect."""
        histories = self.open(begun.epoch).histories
        for key, operation, argument in begun.parts:
            if operation not in READS:
                event = Event(client, operation, argument, None, begun.at, math.inf)
                histories.setdefault(key, []).append(event)

    def _note_recovery(self, started: float, ended: float) -> None:
        fault = self.present
        if fault is not None and fault.ended < started:
            fault.recovered = ended
            self.present = None
            fault.has_recovered.set()
