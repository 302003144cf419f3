"""What a nemesis is, and what it works on."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

from ..clients.clocks import Clocks
from ..clients.processes import ClientProcesses, Process
from ..servers.deployment import Deployment

PAUSE = 0.01


@dataclass(frozen=True)
class Targets:
    """All that a nemesis can reach."""

    deployment: Deployment
    clients: ClientProcesses
    rng: random.Random
    clocks: Clocks
    is_over: threading.Event = field(default_factory=threading.Event)

    def some_process(self) -> Process:
        """A process of clients, once all of them are in their calls.

        One that was killed is replaced at once, and takes its time to begin.
        """
        while len(processes := self.clients.processes) < self.clients.size or not all(
            process.under_way for process in processes
        ):
            if self.is_over.wait(PAUSE):
                raise RuntimeError("nobody is there any more")
        return self.rng.choice(processes)


@dataclass(frozen=True)
class Nemesis:
    """A kind of fault.

    :param about: what it does, in words.
    :param lacks: says why a store cannot have it; an empty text if it can.
    :param fault: the fault is there while its context is; it says to whom.
    :param seconds: how long it is there, at least and at most.
    """

    name: str
    about: str
    lacks: Callable[[Deployment], str]
    fault: Callable[[Targets], AbstractContextManager[str]]
    seconds: tuple[float, float] = (0.2, 1.5)
