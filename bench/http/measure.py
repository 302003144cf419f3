"""All contestants in turn, several rounds of it; every response is checked."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

from .checks import faults, inexact
from .contestants import Contestant
from .load import Load, Responses
from .results import Measurement, Results

WARM_UP_SECONDS = 0.3


@dataclass(frozen=True)
class Extent:
    """How much is measured."""

    rounds: int
    seconds: float
    connections: Sequence[int]
    keys: Sequence[int]

    def cases(self, contestant: Contestant) -> list[tuple[int, int]]:
        """The numbers of connections and keys that a contestant is measured with."""
        keys = self.keys if contestant.operation != "nothing" else self.keys[:1]
        cases = product(self.connections, keys)
        return [c for c in cases if contestant.cases is None or c in contestant.cases]


def measure(load: Load, contestants: Sequence[Contestant], extent: Extent) -> Results:
    """What was measured, of each contestant in each of its cases."""
    found: dict[tuple[int, int, int], Measurement] = {}
    for contestant in contestants:
        for connections, keys in extent.cases(contestant):
            place = (id(contestant), connections, keys)
            found[place] = Measurement(contestant.name, contestant.operation, connections, keys)
        _, wrong = _play(load, contestant, WARM_UP_SECONDS, 32, max(extent.keys))
        found[place].wrong += wrong
    for turn in range(extent.rounds):
        for case in product(extent.connections, extent.keys):
            for contestant in contestants:
                if case in extent.cases(contestant):
                    responses, wrong = _play(load, contestant, extent.seconds, *case)
                    found[id(contestant), *case].add(responses, wrong)
        print(f"round {turn + 1} of {extent.rounds}", file=sys.stderr, flush=True)
    results = Results([*found.values()])
    for contestant in contestants:
        if contestant.operation == "increment":
            results.of(contestant.name, "increment").wrong += contestant.running.wrong(load)
    return results


def _play(
    load: Load, contestant: Contestant, seconds: float, connections: int, keys: int
) -> tuple[Responses, list[str]]:
    """The responses of one contestant in one round, and what is wrong with them."""
    running = contestant.running
    responses = load.run(running.port, connections, seconds, contestant.plan(keys))
    wrong = faults(responses)
    if contestant.step:
        wrong += inexact(responses, running.stand, contestant.step)
        wrong += running.wrong(load, [0]) if keys == 1 and not wrong else []
    return responses, wrong
