"""What may go wrong in a run, and whether it does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import log
from random import Random
from typing import NamedTuple


class Disturbance(NamedTuple):
    """What happened to a task, at which of the points where it could."""

    task: str
    point: int
    kind: str


RATES = {
    # Between any two steps of the code.
    "interrupted": (0, 0.001, 0.01, 0.05),
    "stalled": (0, 0.0002, 0.001),
    # Where a thread asks for the time, a lock, or the store.
    "jostled": (0, 0.02, 0.1, 0.3),
    "stopped": (0, 0.002, 0.01),
    "killed": (0, 0.0005, 0.003),
    # At each request to the store.
    "refused": (0, 0.02, 0.1),
    "request slow": (0, 0.02, 0.1, 0.3),
    "response slow": (0, 0.02, 0.1, 0.3),
    "request lost": (0, 0.02, 0.1),
    "response lost": (0, 0.02, 0.1),
    "cut": (0, 0.02, 0.1),
    "duplicated": (0, 0.05, 0.2),
    "full": (0, 0.05),
    "down": (0, 0.005, 0.02),
}
"""The kinds, and how likely each is; a seed chooses one of these for each kind.

That some kinds are left out of a run finds what they together would hide (Groce and others, "Swarm
testing", 2012).
"""

OF_INTERRUPTS = ("interrupted", "stalled")
HARMLESS = ("interrupted", "jostled")
OF_STEPS = ("jostled", "stopped", "killed")
OF_THREADS = OF_INTERRUPTS + OF_STEPS


def sure(rates: Sequence[tuple[str, float]]) -> list[tuple[str, float]]:
    """The same kinds in the same proportion, of which one always happens."""
    total = sum(rate for _, rate in rates)
    return [(kind, rate / total) for kind, rate in rates]


class Rates:
    """How likely each kind of disturbance is, by where it can happen; without any, none does."""

    def __init__(self, rates: Mapping[str, float]) -> None:
        kinds = [(kind, rate) for kind, rate in rates.items() if rate]
        self.of_interrupts = [each for each in kinds if each[0] in OF_INTERRUPTS]
        self.of_steps = [each for each in kinds if each[0] in OF_STEPS]
        self.of_requests = [each for each in kinds if each[0] not in OF_THREADS]


class Chances:
    """Draws disturbances for one task, from a random stream of its own.

    A disturbance that is drawn and not chosen leaves the stream of the others as it is: so a run
    can be repeated with a part of its disturbances.
    """

    def __init__(self, seed: str, name: str, chosen: frozenset[Disturbance] | None) -> None:
        self._name = name
        self._chosen = chosen
        self._draw = Random(f"{seed} {name} chances").random
        self._count = 0

    def distance(self, rate: float) -> int:
        """How many points are passed until the next one at which something happens."""
        return int(log(1 - self._draw()) / log(1 - rate))

    def draw(
        self, rates: Sequence[tuple[str, float]], happened: list[Disturbance]
    ) -> tuple[str, float] | None:
        """A kind of disturbance and its size between 0 and 1, if one happens here.

        :param happened: where it is added to what has happened.
        """
        drawn = self._draw()
        self._count += 1
        for kind, rate in rates:
            if drawn < rate:
                size = self._draw()
                disturbance = Disturbance(self._name, self._count, kind)
                if self._chosen is not None and disturbance not in self._chosen:
                    return None
                happened.append(disturbance)
                return kind, size
            drawn -= rate
        return None


def swarm(seed: str, kinds: Sequence[str]) -> Rates:
    """How likely each kind of disturbance is in the run of a seed.

    In one of five nothing fails, and there is only the order in which threads go on; in another one
    nothing happens to threads.
    """
    random = Random(f"{seed} rates")
    rates = {kind: random.choice(RATES[kind]) for kind in RATES if kind in kinds}
    mode = random.random()
    if mode < 0.2:
        rates = {kind: rate for kind, rate in rates.items() if kind in HARMLESS}
    elif mode < 0.4:
        rates = {kind: rate for kind, rate in rates.items() if kind not in OF_THREADS}
    return Rates(rates)
