"""``python -m bench.combining``: increments of threads, in turn and done together.

Two processes of eight threads each increment through the public `Cache`, all one key or each thread
its own; then one thread alone. Each case runs with :class:`~sharedstate.stores.combining.Combining`
before the store and without it, one right after the other.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from itertools import product
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from flask import Flask

from sharedstate import Cache
from sharedstate.stores.base import Store
from sharedstate.stores.combining import Combining

from .report import surroundings, table

STORES = ("filesystem", "lmdb")
DURABILITIES = ("full", "normal")
PROCESSES = 2
THREADS = 8
KEYS = {"one": "on one key", "own": "a key each", "alone": "one thread alone"}


class Case(NamedTuple):
    """What all threads do at once; `keys` is one of `KEYS`."""

    store: str
    durability: str
    keys: str


class Task(NamedTuple):
    """A case, with or without combining, on a key of its own."""

    case: Case
    is_combined: bool
    key: str
    seconds: float


@dataclass(frozen=True)
class Figures:
    """All threads in one round."""

    rate: float
    """Increments a second, of all together."""
    slowest: float
    """The slowest single one, in seconds."""
    exact: bool


Found = list[tuple[list[int], float]]
"""Of each thread, its numbers and the seconds of its slowest increment."""


def main(arguments: list[str] | None = None) -> int:
    options = _parse(arguments)
    cases = [Case(*case) for case in product(options.stores, options.durabilities, options.keys)]
    with tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True) as name:
        directory = Path(name)
        results = _measure(directory, cases, options.rounds, options.seconds)
        about = surroundings(packages=("lmdb",), programs=(), directory=directory)
    print(f"{about}\n\n{_table(results)}")
    everything = [each for both in results.values() for found in both for each in found]
    return int(not all(each.exact for each in everything))


Results = dict[Case, tuple[list[Figures], list[Figures]]]


def _measure(directory: Path, cases: list[Case], rounds: int, seconds: float) -> Results:
    """The figures of each case, without combining and with it."""
    context = multiprocessing.get_context("spawn")
    pipes = [context.Pipe() for _ in range(PROCESSES)]
    processes = [
        context.Process(target=_work, args=(theirs, directory), daemon=True) for _, theirs in pipes
    ]
    for process in processes:
        process.start()
    connections = [ours for ours, _ in pipes]
    results: Results = {case: ([], []) for case in cases}
    for turn, case, is_combined in product(range(rounds), cases, (False, True)):
        key = f"{turn}-{case.keys}-{is_combined}"
        chosen = connections[:1] if case.keys == "alone" else connections
        found = _run(chosen, Task(case, is_combined, key, seconds))
        results[case][is_combined].append(_figures(found, case, seconds))
        if is_combined:
            print(*case, f"round {turn + 1} of {rounds}", file=sys.stderr, flush=True)
    for connection in connections:
        connection.send(None)
    for process in processes:
        process.join()
    return results


def _run(connections: list[Connection[Any, Any]], task: Task) -> list[Found]:
    for connection in connections:
        connection.send(task)
    for connection in connections:
        connection.recv()  # It has opened the store.
    for connection in connections:
        connection.send("go")
    return [connection.recv() for connection in connections]


def _figures(processes: list[Found], case: Case, seconds: float) -> Figures:
    threads = [thread for found in processes for thread in found]
    counts = [numbers for numbers, _ in threads]
    if case.keys == "one":
        counts = [sorted(number for numbers in counts for number in numbers)]
    return Figures(
        rate=sum(map(len, counts)) / seconds,
        slowest=max(slowest for _, slowest in threads),
        exact=all(numbers == list(range(1, len(numbers) + 1)) for numbers in counts),
    )


def _work(connection: Connection[Any, Any], directory: Path) -> None:
    opened: dict[tuple[str, str], tuple[Flask, Cache, Store]] = {}
    while (task := connection.recv()) is not None:
        place = task.case[:2]
        if place not in opened:
            opened[place] = _open(directory, *place)
        app, cache, store = opened[place]
        with app.app_context():
            cache.state.store = Combining(store) if task.is_combined else store
            cache.inc("warm-up")
        connection.send("opened")
        connection.recv()
        connection.send(_threads(app, cache, task))


def _open(directory: Path, store: str, durability: str) -> tuple[Flask, Cache, Store]:
    app = Flask(__name__)
    place = directory / f"{store}-{durability}"
    place.mkdir(mode=0o700, exist_ok=True)
    config = {"CACHE_TYPE": store, "CACHE_DIR": place, "CACHE_DURABILITY": durability}
    cache = Cache(app, config={**config, "CACHE_TIMEOUT": 30})
    with app.app_context():
        found = cache.state.store
        return app, cache, found._store if isinstance(found, Combining) else found


def _threads(app: Flask, cache: Cache, task: Task) -> Found:
    found: Found = []
    names = [task.key] * (1 if task.case.keys == "alone" else THREADS)
    if task.case.keys == "own":
        pid = multiprocessing.current_process().pid
        names = [f"{name}-{pid}-{number}" for number, name in enumerate(names)]
    threads = [threading.Thread(target=_count, args=(app, cache, n, task, found)) for n in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def _count(app: Flask, cache: Cache, key: str, task: Task, found: Found) -> None:
    numbers: list[int] = []
    slowest = 0.0
    with app.app_context():
        before = time.perf_counter()
        end = before + task.seconds
        while before < end:
            numbers.append(cache.inc(key))
            after = time.perf_counter()
            slowest = max(slowest, after - before)
            before = after
    found.append((numbers, slowest))


def _table(results: Results) -> str:
    header = ["", "", "a second", "slowest", "ratio", "of the rounds", "exact"]
    return table(header, [_row(case, *found) for case, found in results.items()])


def _row(case: Case, before: list[Figures], after: list[Figures]) -> list[str]:
    def both(form: str, name: str, scale: float = 1) -> str:
        values = [median(getattr(each, name) for each in found) for found in (before, after)]
        return " → ".join(form.format(value * scale) for value in values)

    ratios = sorted(new.rate / old.rate for old, new in zip(before, after, strict=True))
    return [
        f"{case.store}, {case.durability}",
        KEYS[case.keys],
        both("{:,.0f}", "rate"),
        both("{:.0f} ms", "slowest", 1000),
        f"{median(ratios):.2f}",
        f"{ratios[0]:.2f}–{ratios[-1]:.2f}",
        "yes" if all(each.exact for each in before + after) else "no",
    ]


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.combining", description=__doc__)
    parser.add_argument("--seconds", type=float, default=1.5, help="a run (%(default)s)")
    parser.add_argument("--rounds", type=int, default=7, help="how many (%(default)s)")
    parser.add_argument("--stores", nargs="+", choices=STORES, default=STORES)
    parser.add_argument("--durabilities", nargs="+", choices=DURABILITIES, default=DURABILITIES)
    parser.add_argument("--keys", nargs="+", choices=KEYS, default=[*KEYS])
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
