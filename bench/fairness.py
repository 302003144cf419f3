"""``python -m bench.fairness``: how fairly processes share a lock, or a value that all update.

Each process holds the lock, or changes the value, for 0, 1 and 20 ms at a time, over and over.
Every case runs without the queue of waiters and with it, one right after the other.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from sharedstate import Handle, LockTimeout, State
from sharedstate.locks import fairness

from .redis_server import redis_server
from .report import surroundings, table

STORES = ("filesystem", "lmdb", "redis")
OPERATIONS = ("lock", "update", "object")
PROCESSES = (8, 32)
MILLISECONDS = (0, 1, 20)

LATE_SECONDS = fairness.LATE_SECONDS


class Case(NamedTuple):
    """What all processes do at once."""

    store: str
    operation: str
    processes: int
    milliseconds: float


class Task(NamedTuple):
    """A case, with or without the queue, on a key of its own."""

    case: Case
    is_fair: bool
    key: str
    seconds: float


class _Count:
    """What all processes change as one shared object."""

    number = 0


class Sample(NamedTuple):
    """What a process did."""

    done: int
    longest: float
    """The seconds that it waited at most."""
    timeouts: int


@dataclass(frozen=True)
class Figures:
    """All processes in one round."""

    rate: float
    """Operations a second, of all together."""
    fairness: float
    """The count of the slowest process over that of the fastest."""
    longest: float
    timeouts: int


def main(arguments: list[str] | None = None) -> int:
    options = _parse(arguments)
    cases = [
        Case(*case)
        for case in product(options.stores, options.operations, options.processes, options.ms)
    ]
    with tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True) as name:
        directory = Path(name)
        with redis_server(directory) as url:
            workers = _Workers(max(options.processes), directory, url)
            cases = [case for case in cases if url or case.store != "redis"]
            results = _measure(workers, cases, options.rounds, options.seconds)
            workers.close()
        print(
            surroundings(
                packages=("lmdb", "redis"), programs=("redis-server",), directory=directory
            )
        )
    print(f"\n{_table(results)}")
    return 0


class _Workers:
    """The processes, started once for the whole run."""

    def __init__(self, size: int, directory: Path, redis_url: str | None) -> None:
        context = multiprocessing.get_context("spawn")
        pipes = [context.Pipe() for _ in range(size)]
        self._connections = [ours for ours, _ in pipes]
        self._processes = [
            context.Process(target=_work, args=(theirs, directory, redis_url), daemon=True)
            for _, theirs in pipes
        ]
        for process in self._processes:
            process.start()
        for connection in self._connections:
            connection.recv()

    def run(self, task: Task) -> Figures:
        chosen = self._connections[: task.case.processes]
        for connection in chosen:
            connection.send(task)
        for connection in chosen:
            connection.recv()  # It has opened the store.
        for connection in chosen:
            connection.send("go")
        samples = [connection.recv() for connection in chosen]
        counts = [sample.done for sample in samples]
        return Figures(
            rate=sum(counts) / task.seconds,
            fairness=min(counts) / max(*counts, 1),
            longest=max(sample.longest for sample in samples),
            timeouts=sum(sample.timeouts for sample in samples),
        )

    def close(self) -> None:
        for connection in self._connections:
            connection.close()
        for process in self._processes:
            process.join()


def _work(connection: Connection[Any, Any], directory: Path, redis_url: str | None) -> None:
    connection.send("ready")
    states: dict[str, State] = {}
    while True:
        try:
            task: Task = connection.recv()
        except EOFError:
            return
        name = task.case.store
        if name not in states:
            states[name] = _state(name, directory, redis_url)
        step = _step(states[name], task)
        states[name].get(task.key)
        connection.send("opened")
        connection.recv()
        fairness.LATE_SECONDS = LATE_SECONDS if task.is_fair else float("inf")
        connection.send(_repeat(step, task.seconds))


def _state(store: str, directory: Path, redis_url: str | None) -> State:
    settings = {"CACHE_TYPE": store, "CACHE_DIR": str(directory / store)}
    if store == "redis":
        settings["CACHE_URL"] = str(redis_url)
    return State.from_settings(settings)


def _step(state: State, task: Task) -> Callable[[], object]:
    key, seconds = task.key, task.case.milliseconds / 1000

    def pause() -> None:
        if seconds:
            time.sleep(seconds)

    def change(number: int) -> int:
        pause()
        return number + 1

    def update() -> None:
        state.update(key, change, default=0)

    def hold() -> None:
        with state.lock(key):
            pause()

    def add(count: _Count) -> None:
        pause()
        count.number += 1

    count = Handle(lambda: state, key, _Count, _Count)
    steps = {"lock": hold, "update": update, "object": lambda: count.change(add)}
    return steps[task.case.operation]


def _repeat(step: Callable[[], object], seconds: float) -> Sample:
    done = timeouts = 0
    longest = 0.0
    before = time.perf_counter()
    end = before + seconds
    while before < end:
        try:
            step()
        except LockTimeout:
            timeouts += 1
        after = time.perf_counter()
        done += after <= end
        longest = max(longest, after - before)
        before = after
    return Sample(done, longest, timeouts)


Results = dict[Case, tuple[list[Figures], list[Figures]]]


def _measure(workers: _Workers, cases: list[Case], rounds: int, seconds: float) -> Results:
    """The figures of each case, without the queue and with it."""
    results: Results = {case: ([], []) for case in cases}
    for turn, case in product(range(rounds), cases):
        for is_fair in (False, True):
            key = f"{case.operation}-{turn}-{is_fair}-{case.processes}-{case.milliseconds}"
            found = workers.run(Task(case, is_fair, key, seconds))
            results[case][is_fair].append(found)
        print(*case, f"round {turn + 1} of {rounds}", file=sys.stderr, flush=True)
    return results


def _table(results: Results) -> str:
    header = ["", "processes", "ms", "a second", "slowest/fastest", "longest wait", "time-outs"]
    return table([*header, "throughput"], [_row(case, *found) for case, found in results.items()])


def _row(case: Case, before: list[Figures], after: list[Figures]) -> list[str]:
    def both(form: str, name: str) -> str:
        values = [median(getattr(each, name) for each in found) for found in (before, after)]
        return " → ".join(form.format(value) for value in values)

    ratio = median(each.rate for each in after) / max(median(each.rate for each in before), 0.01)
    return [
        f"{case.store}, {case.operation}",
        str(case.processes),
        str(case.milliseconds),
        both("{:,.0f}", "rate"),
        both("{:.2f}", "fairness"),
        both("{:.2f} s", "longest"),
        both("{:.0f}", "timeouts"),
        f"{ratio:.2f}",
    ]


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.fairness", description=__doc__)
    parser.add_argument("--seconds", type=float, default=10, help="a run (%(default)s)")
    parser.add_argument("--rounds", type=int, default=1, help="how many (%(default)s)")
    parser.add_argument("--stores", nargs="+", choices=STORES, default=STORES)
    parser.add_argument("--operations", nargs="+", choices=OPERATIONS, default=OPERATIONS)
    parser.add_argument("--processes", nargs="+", type=int, default=PROCESSES)
    parser.add_argument("--ms", nargs="+", type=float, default=MILLISECONDS)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
