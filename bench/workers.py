"""Processes that do one operation over and over, and keep every result and its time."""

from __future__ import annotations

import multiprocessing
from array import array
from collections.abc import Callable
from itertools import count
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from threading import BrokenBarrierError
from time import perf_counter_ns
from typing import Any, NamedTuple, Self

from .base import Contestant, Place
from .contestants import CONTESTANTS

GATE_SECONDS = 60

_LEFT_ALONE = "another process did not come to the gate"


class Task(NamedTuple):
    """What a process shall do: `operation` is inc, get or set."""

    contestant: str
    operation: str
    key: str
    seconds: float
    together: bool


class Sample(NamedTuple):
    """What a process did: a stamp in nanoseconds before each operation and after the last."""

    stamps: array[int]
    numbers: array[int]
    """What the operations returned, of increments."""


class WorkerFailed(RuntimeError):
    """A process could not do its task; the message has its error."""


class Workers:
    """The processes, started once for the whole run."""

    def __init__(self, size: int, place: Place) -> None:
        context = multiprocessing.get_context("spawn")
        self._gate = context.Barrier(size)
        self._connections: list[Connection[Any, Any]] = []
        self._processes: list[SpawnProcess] = []
        for _ in range(size):
            ours, theirs = context.Pipe()
            process = context.Process(target=_work, args=(theirs, self._gate, place), daemon=True)
            process.start()
            theirs.close()
            self._connections.append(ours)
            self._processes.append(process)
        for connection in self._connections:
            connection.recv()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        for connection in self._connections:
            connection.close()
        for process in self._processes:
            process.join()

    def run(self, task: Task) -> list[Sample]:
        """The samples of all processes, or that of the first one if it shall work alone."""
        chosen = self._connections if task.together else self._connections[:1]
        for connection in chosen:
            connection.send(task)
        outcomes = [connection.recv() for connection in chosen]
        failures = [outcome for outcome in outcomes if isinstance(outcome, str)]
        if failures:
            told = next((failure for failure in failures if failure != _LEFT_ALONE), _LEFT_ALONE)
            raise WorkerFailed(f"{task.contestant} {task.operation}: {told}")
        return outcomes


def _work(connection: Connection[Any, Any], gate: Any, place: Place) -> None:
    contestants: dict[str, Contestant] = {}
    connection.send(
        "ready"
    )  # A process that is still starting would slow down the first to be measured.
    while True:
        try:
            task = connection.recv()
        except EOFError:
            return
        try:
            if task.contestant not in contestants:
                contestants[task.contestant] = CONTESTANTS[task.contestant](place)
            with contestants[task.contestant] as contestant:
                outcome: Sample | str = _do(contestant, task, gate)
        except BrokenBarrierError:
            outcome = _LEFT_ALONE
        except Exception as error:  # noqa: BLE001  # the parent raises it
            gate.abort()
            outcome = repr(error)
        connection.send(outcome)


def _do(contestant: Contestant, task: Task, gate: Any) -> Sample:
    contestant.inc("warm-up")  # Opens it.
    if task.operation == "get":
        contestant.set(task.key, _value(0))
    step = _step(contestant, task)
    if task.together:
        gate.wait(GATE_SECONDS)
    stamps, results = _repeat(step, task.seconds)
    if task.operation == "inc":
        return Sample(array("q", stamps), array("q", results))
    wanted = _value(0) if task.operation == "get" else _value(len(results))
    found = set(results) if task.operation == "get" else {contestant.get(task.key)}
    if found != {wanted}:
        raise AssertionError(f"read {found}, expected {wanted}")
    return Sample(array("q", stamps), array("q"))


def _step(contestant: Contestant, task: Task) -> Callable[[], Any]:
    key = task.key
    if task.operation == "inc":
        return lambda: contestant.inc(key)
    if task.operation == "get":
        return lambda: contestant.get(key)
    number = count(1)  # SQLite does not write a value that is already there.
    return lambda: contestant.set(key, _value(next(number)))


def _value(number: int) -> str:
    return f"value {number:034}"


def _repeat(step: Callable[[], Any], seconds: float) -> tuple[list[int], list[Any]]:
    results: list[Any] = []
    now = perf_counter_ns()
    stamps = [now]
    end = now + round(seconds * 1e9)
    while now < end:
        results.append(step())
        now = perf_counter_ns()
        stamps.append(now)
    return stamps, results
