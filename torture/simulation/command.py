"""``python -m torture.simulation``: thousands of seeds, and the shortest trace of a failure."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence

from .shrinking import shortest
from .simulation import Outcome, Subject, simulate
from .subjects.table import SUBJECTS

SEEDS = 1000
FIRST_LINES, LAST_LINES = 20, 60


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the simulations that the command line names.

    :returns: 0 if everything held in each of them, 1 if not.
    """
    options = _options(arguments)
    names = options.subject or list(SUBJECTS)
    first = 0 if options.seed is None else options.seed
    seeds = range(first, first + (options.seeds or (SEEDS if options.seed is None else 1)))
    held = [hunt(name, SUBJECTS[name], seeds, options.trace) for name in names]
    return 0 if all(held) else 1


def hunt(name: str, subject: type[Subject], seeds: range, is_traced: bool = False) -> bool:
    """Run a subject with each seed; returns whether everything held, and prints what did not."""
    began, simulated = time.perf_counter(), 0.0
    for seed in seeds:
        outcome = simulate(subject, seed, is_traced=is_traced)
        simulated += outcome.seconds
        if is_traced and outcome.failure is None:
            print(*outcome.trace, sep="\n")
        if outcome.failure is not None:
            print(report(name, outcome, shortest(subject, outcome), is_traced), flush=True)
            return False
    took = time.perf_counter() - began
    speed = len(seeds) / took * 60
    print(
        f"{name:12} {len(seeds):7,} seeds  {simulated:9,.0f} s simulated in {took:6.1f} s"
        f"  {speed:9,.0f} seeds a minute  ✓",
        flush=True,
    )
    return True


def report(name: str, outcome: Outcome, shortest: Outcome, is_whole: bool) -> str:
    """A run that failed, for people: how to repeat it, and what happened."""
    lines = [
        f"{name:12} seed {outcome.seed}  ✗ {outcome.failure}",
        f"    python -m torture.simulation --subject {name} --seed {outcome.seed}",
        f"    needs {len(shortest.disturbances)} of its {len(outcome.disturbances)} disturbances:",
        *(f"    {line}" for line in (shortest.trace if is_whole else _parts(shortest.trace))),
        f"    ✗ {shortest.failure}",
    ]
    return "\n".join(lines)


def _parts(trace: Sequence[str]) -> Iterator[str]:
    """The beginning and the end of a long trace."""
    left_out = len(trace) - FIRST_LINES - LAST_LINES
    if left_out <= 0:
        yield from trace
        return
    yield from trace[:FIRST_LINES]
    yield f"… {left_out:,} lines, which --trace prints …"
    yield from trace[-LAST_LINES:]


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m torture.simulation",
        description="Run what decides under uncertainty on virtual time, on a store that fails.",
    )
    parser.add_argument(
        "--seeds", type=int, metavar="N",
        help=f"how many seeds to run of each subject: {SEEDS}, or one where --seed is given",
    )  # fmt: skip
    parser.add_argument("--seed", type=int, metavar="S", help="the first seed; 0")
    parser.add_argument(
        "--subject", action="append", choices=SUBJECTS, metavar="NAME",
        help=f"what to simulate, more than once for several: {', '.join(SUBJECTS)}; all",
    )  # fmt: skip
    parser.add_argument("--trace", action="store_true", help="print what happens in each run")
    return parser.parse_args(arguments)
