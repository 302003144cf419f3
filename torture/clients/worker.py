"""``python -m torture.clients.worker``: a process of clients, until it is told to end or killed."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from sharedstate import NotSupported, State

from .broken import BROKEN
from .calls import Done, outcome_of
from .chooser import Chooser
from .client import Client
from .clocks import Clocks
from .epoch import END, Epoch, keys_of
from .records import Begun, Record, Writer

PAUSE = 0.005
NO_TIME = 0.0


@dataclass(frozen=True)
class WorkerConfig:
    """What a process is told.

    :param number: of the process; another one for each that is started.
    :param directory: where the files ``epoch`` and ``clocks`` are.
    :param settings: of a Flask configuration.
    :param operations: those that it does; all if there are none.
    """

    number: int
    seed: str
    threads: int
    pipe: int
    directory: str
    settings: dict[str, Any]
    broken: str = ""
    operations: list[str] = field(default_factory=list)

    def as_text(self) -> str:
        return json.dumps(asdict(self))


def main(config: WorkerConfig) -> None:
    """Let the threads ask until the epoch is `END`."""
    directory = Path(config.directory)
    Clocks(directory / "clocks").follow(config.number)
    state = BROKEN.get(config.broken, State).from_settings(config.settings)
    writer, epoch = Writer(config.pipe), Epoch(directory / "epoch")
    threads = [
        threading.Thread(target=_ask, args=(state, writer, epoch, config, thread))
        for thread in range(config.threads)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    state.close()


def _ask(state: State, writer: Writer, epoch: Epoch, config: WorkerConfig, thread: int) -> None:
    me = config.number * config.threads + thread + 1
    chooser = Chooser(Client(f"{config.seed}/{me}", me), config.operations)
    done: Done | None = None
    started = ended = NO_TIME
    try:
        while (now := epoch.number) != END:
            call = chooser.next_call(keys_of(now))
            writer.write(
                Record(thread, done, started, ended, Begun(now, call.parts, time.monotonic()))
            )
            started = time.monotonic()
            try:
                done = outcome_of(call, state)
            except NotSupported:
                chooser.leave_out(call.name)
                done = Done("refused", (), NotSupported.__name__)
            ended = time.monotonic()
            if done.outcome in ("refused", "unknown"):
                time.sleep(PAUSE)
        writer.write(Record(thread, done, started, ended, None))
    except BrokenPipeError:
        os._exit(1)  # Nobody listens any more.


if __name__ == "__main__":
    main(WorkerConfig(**json.loads(sys.argv[1])))
