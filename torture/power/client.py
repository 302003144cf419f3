"""``python -m torture.power.client DIRECTORY STORE DURABILITY STEPS``: what is recorded.

In each of its sessions several processes with several threads use the store. Those of the first one
end without closing it, as if they were killed. Where nobody syncs anything all would be lost at
each cut, the directory first, which hides what else can happen. So names are synced after the first
session, and files after the second one, as the kernel does it by itself after some seconds.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
from pathlib import Path

from sharedstate import State

from .workload import ORDER, SINGLE, Step

MARKS = "marks"
SESSIONS = 3
PROCESSES = 2
THREADS = 3

_TIMEOUT = 60


def settings(directory: Path, store: str, durability: str) -> dict[str, str | int]:
    """The settings of the store, with bounds that let it empty its log often."""
    return {
        "CACHE_TYPE": store,
        "CACHE_DIR": str(directory / "state"),
        "CACHE_DURABILITY": durability,
        "CACHE_TIMEOUT": _TIMEOUT,
        "CACHE_MAX_BYTES": 1 << 20,
    }


def main(directory: Path, store: str, durability: str, steps: int) -> None:
    """Use the store in a directory, with about so many changes."""
    context = multiprocessing.get_context("fork")
    share = steps // SESSIONS // PROCESSES // THREADS
    for session in range(SESSIONS):
        processes = [
            context.Process(
                target=_work, args=(directory, store, durability, f"{session}{number}", share)
            )
            for number in range(PROCESSES)
        ]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
        if any(process.exitcode for process in processes):
            sys.exit("a client failed")
        for path in (directory, *directory.rglob("*")):
            if path.is_dir() or session > 0:
                _sync(path)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)


def _work(directory: Path, store: str, durability: str, name: str, steps: int) -> None:
    state = State.from_settings(settings(directory, store, durability))
    marks = os.open(directory / MARKS, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    clients = [_Client(state, marks, f"{name}{thread}", steps) for thread in range(THREADS)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    os.close(marks)
    if not all(client.is_done for client in clients):
        sys.exit("a thread failed")
    if not name.startswith("0"):
        state.close()


class _Client(threading.Thread):
    """Changes the store, and marks when each change begins and has returned."""

    def __init__(self, state: State, marks: int, name: str, steps: int) -> None:
        super().__init__(name=name)
        self._state = state
        self._marks = marks
        self._steps = steps
        self.is_done = False

    def run(self) -> None:
        for number in range(self._steps):
            step = Step(self.name, number)
            batch = self._state.batch()
            step.collect(batch)
            self._mark("begin", ORDER, number)
            self._mark("done", ORDER, number, batch.apply()[0])
            self._mark("begin", SINGLE, number)
            self._mark("done", SINGLE, number, self._state.inc(SINGLE))
        self.is_done = True

    def _mark(self, *words: str | int) -> None:
        # It is recorded, in the order of all that is.
        os.write(self._marks, " ".join(map(str, (self.name, *words))).encode())


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4]))
