"""Which of a run's disturbances it takes to break what is promised."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from .disturbances import Disturbance
from .simulation import Outcome, Subject, simulate

MAX_RUNS = 400


def shortest(subject: type[Subject], failed: Outcome) -> Outcome:
    """Repeat a failed run with fewer and fewer disturbances, as long as it fails.

    It is the delta debugging of Zeller and Hildebrandt ("Simplifying and isolating
    failure-inducing input", 2002), with a bound.

    :returns: the run with the fewest that was found, with its trace.
    """
    needed = failed.disturbances
    runs, parts = 0, 2
    while needed and runs < MAX_RUNS:
        for fewer in _without_a_part(needed, parts):
            runs += 1
            outcome = simulate(subject, failed.seed, frozenset(fewer))
            if outcome.failure is not None:
                needed, parts = outcome.disturbances, max(parts - 1, 2)
                break
        else:
            if parts >= len(needed):
                break
            parts = min(2 * parts, len(needed))
    return simulate(subject, failed.seed, frozenset(needed), is_traced=True)


def _without_a_part(
    disturbances: Sequence[Disturbance], parts: int
) -> Iterator[Sequence[Disturbance]]:
    if parts == 2:
        yield ()
    size = max(len(disturbances) // parts, 1)
    for start in range(0, len(disturbances), size):
        yield [*disturbances[:start], *disturbances[start + size :]]
