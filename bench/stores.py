"""``python -m bench.stores``: increments, gets and sets of each store beside its peers.

All contestants run in turn, several rounds of it, so that a slower moment of the machine hits all
alike; the tables show the medians of the rounds.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from .base import Place
from .contestants import CONTESTANTS
from .demands import demands
from .figures import Figures, Result, figures, result
from .redis_server import redis_server
from .report import duration, surroundings, table
from .sizes import SIZES, measure_sizes, print_sizes
from .workers import Task, Workers

PROCESSES = 8
PACKAGES = ("Flask-Caching", "cachelib", "filelock", "diskcache", "redis", "hiredis", "lmdb")

Results = dict[str, dict[str, Result]]


@dataclass(frozen=True)
class Phase:
    """What is measured; `share` is how much of the time it gets that 8 processes get."""

    title: str
    operation: str
    together: bool = False
    share: float = 0.25


PHASES = {
    "alone": Phase("Increments, one process", "inc"),
    "together": Phase(f"Increments, {PROCESSES} processes on one key", "inc", True, 1),
    "sets": Phase("Sets, one process", "set"),
    "gets": Phase("Gets, one process", "get"),
}


def main(arguments: list[str] | None = None) -> int:
    options = _parse(arguments)
    with tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True) as name:
        directory = Path(name)
        with redis_server(directory) as url:
            place = Place(directory, url)
            missing = {name: CONTESTANTS[name].missing(place) for name in options.only}
            present = [name for name in options.only if missing[name] is None]
            with Workers(PROCESSES, place) as workers:
                results = measure(workers, present, options.rounds, options.seconds)
            share = PHASES["alone"].share * options.seconds
            times = measure_sizes(place, present, options.sizes, options.rounds, share)
        about = surroundings(packages=PACKAGES, programs=["redis-server"], directory=directory)
    if options.json:
        plain = {"about": about, "results": _plain(results), "sizes": options.sizes, "times": times}
        print(json.dumps(plain, indent=1))
    else:
        print(f"{about}  \nMethod: medians of {options.rounds} rounds, contestants in turn\n")
        _print(results)
        if times:
            print_sizes(times, options.sizes)
    for name in missing.keys() - set(present):
        print(f"skipped: {name}, for want of {missing[name]}", file=sys.stderr)
    return _report_lies(results)


def measure(workers: Workers, names: list[str], rounds: int, seconds: float) -> Results:
    """The results by phase and contestant."""
    found: dict[str, dict[str, list[Figures]]] = {phase: {} for phase in PHASES}
    for turn in range(rounds):
        for title, phase in PHASES.items():
            for name in names:
                if phase.together and not CONTESTANTS[name].is_shared:
                    continue
                key = f"{title}-{turn}"
                task = Task(name, phase.operation, key, phase.share * seconds, phase.together)
                found[title].setdefault(name, []).append(figures(workers.run(task)))
        print(f"round {turn + 1} of {rounds}", file=sys.stderr, flush=True)
    return {
        title: {name: result(turns) for name, turns in contestants.items()}
        for title, contestants in found.items()
    }


def _print(results: Results) -> None:
    for title, phase in PHASES.items():
        header = ["", "a second", "p50", "p99", "slowest", "slowest of all"]
        header += ["fairness"] * phase.together + ["exact"] * (phase.operation == "inc")
        rows = [_row(phase, name, found) for name, found in results[title].items()]
        print(f"### {phase.title}\n\n{table(header, rows)}\n")
    if rows := demands(results):
        print(
            f"### What it must reach\n\n{table(['', 'against', 'is', 'required', 'met'], rows)}\n"
        )


def _row(phase: Phase, name: str, found: Result) -> list[str]:
    middle = found.middle
    times = (middle.p50, middle.p99, middle.slowest, found.worst)
    row = [f"**{name}**" if CONTESTANTS[name].is_ours else name, f"{middle.rate:,.0f}"]
    row += map(duration, times)
    row += [f"{middle.fairness:.2f}"] * phase.together
    return row + [_exactness(middle)] * (phase.operation == "inc")


def _exactness(sums: Figures) -> str:
    if sums.exact:
        return "yes"
    return f"{sums.duplicates / sums.numbers:.0%} given twice"


def _plain(results: Results) -> dict[str, dict[str, object]]:
    return {
        title: {
            name: asdict(found.middle)
            | {"slowest_of_all": found.worst, "exact": found.middle.exact}
            for name, found in contestants.items()
        }
        for title, contestants in results.items()
    }


def _report_lies(results: Results) -> int:
    """1 if one that means to be exact was not."""
    wrong = [
        f"{name} gave wrong numbers ({title}): {found.middle.duplicates} twice, "
        f"{found.middle.gaps} never"
        for title, contestants in results.items()
        for name, found in contestants.items()
        if CONTESTANTS[name].is_exact and not found.middle.exact
    ]
    print(*wrong, sep="\n", end="\n" * bool(wrong), file=sys.stderr)
    return int(bool(wrong))


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.stores", description=__doc__)
    parser.add_argument(
        "--seconds", type=float, default=1.6, help="a round of 8 processes (%(default)s)"
    )
    parser.add_argument("--rounds", type=int, default=5, help="how many (%(default)s)")
    parser.add_argument(
        "--only", nargs="+", metavar="NAME", choices=CONTESTANTS, default=[*CONTESTANTS],
        help=f"contestants: {', '.join(CONTESTANTS)}",
    )  # fmt: skip
    parser.add_argument(
        "--sizes", type=int, nargs="*", metavar="KEYS", default=[*SIZES],
        help="how many keys the embedded stores hold (%(default)s)",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print JSON and no tables")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
