"""What a nemesis is, and what it works on."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

from ..clients.clocks import Clocks
from ..clients.crew import Crew, Process
from ..servers.site import Site


@dataclass(frozen=True)
class Field:
    """All that a nemesis can reach."""

    site: Site
    crew: Crew
    dice: random.Random
    clocks: Clocks

    def some_process(self) -> Process:
        """A process of clients that is in its calls: one that was killed is replaced at once."""
        while not (processes := [one for one in self.crew.processes if one.under_way]):
            time.sleep(0.01)
        return self.dice.choice(processes)


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
    lacks: Callable[[Site], str]
    fault: Callable[[Field], AbstractContextManager[str]]
    seconds: tuple[float, float] = (0.2, 1.5)
