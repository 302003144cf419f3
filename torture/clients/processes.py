"""The processes of clients: started, read, and replaced when they are killed."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import replace
from fcntl import F_SETPIPE_SZ, fcntl

from race.servers.programs import python_path

from ..run_log import RunLog
from .epoch import END, Epoch
from .records import Begun, Reader, Record
from .worker import WorkerConfig

PIPE_BYTES = 1 << 20
SECONDS = 90  # Guards against a hang, and nothing else.


class Process:
    """One process of clients, and what its threads are doing."""

    def __init__(self, config: WorkerConfig, epoch: int) -> None:
        ours, theirs = os.pipe()
        with suppress(OSError):  # As much as the system allows.
            fcntl(ours, F_SETPIPE_SZ, PIPE_BYTES)
        config = replace(config, pipe=theirs)
        self.number = config.number
        self.reader = Reader(ours)
        self.epochs = dict.fromkeys(range(config.threads), epoch)
        self.under_way: dict[int, Begun] = {}
        self.stopped: list[list[float]] = []
        self._process = subprocess.Popen(
            [sys.executable, "-m", "torture.clients.worker", config.as_text()],
            pass_fds=[theirs],
            env=os.environ | {"PYTHONPATH": python_path()},
        )
        os.close(theirs)

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal, unless it is gone."""
        self._process.send_signal(number)

    def stop(self) -> None:
        self.stopped.append([time.monotonic(), float("inf")])
        self.signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self.signal(signal.SIGCONT)
        self.stopped[-1][1] = time.monotonic()

    def was_stopped(self, started: float, ended: float) -> bool:
        return any(since < ended and started < until for since, until in self.stopped)

    def close(self) -> int:
        """Returns how it ended."""
        os.close(self.reader.pipe)
        return self._process.wait()


class ClientProcesses:
    """The processes of clients of a run.

    :param config: for each, without number and pipe.
    """

    def __init__(self, config: WorkerConfig, size: int, epoch: Epoch, log: RunLog) -> None:
        self._config = config
        self.size = size
        self._epoch = epoch
        self._log = log
        self._started = 0
        self._selector = selectors.DefaultSelector()
        self._lock = threading.Lock()
        self._processes: list[Process] = []
        self.crashes = 0

    @property
    def processes(self) -> list[Process]:
        """Those that live; another thread may ask."""
        with self._lock:
            return list(self._processes)

    def start_missing(self) -> None:
        """Start as many as are missing."""
        while len(self._processes) < self.size:
            process = Process(replace(self._config, number=self._started), self._epoch.number)
            self._started += 1
            self._selector.register(process.reader.pipe, selectors.EVENT_READ, process)
            with self._lock:
                self._processes.append(process)

    def read(self, timeout: float) -> None:
        """Log the records that have come, or come within so many seconds."""
        for key, _ in self._selector.select(timeout):
            process: Process = key.data
            records = process.reader.read()
            if records is None:
                self._remove(process)
                continue
            for record in records:
                self._log_record(process, record)

    def reached(self) -> int:
        """The epoch that all threads have begun a call in, or a later one."""
        found = [epoch for process in self._processes for epoch in process.epochs.values()]
        return min(found, default=self._epoch.number)

    def end(self) -> None:
        """Let all end their calls, and log their last records."""
        self._epoch.number = END
        deadline = time.monotonic() + SECONDS
        while self._processes:
            self.read(1)
            if time.monotonic() > deadline:
                for process in self._processes:
                    process.signal(signal.SIGKILL)
        self._selector.close()

    def close(self) -> None:
        """Kill those that are left."""
        for process in self._processes:
            process.signal(signal.SIGKILL)
            process.close()
        self._processes.clear()

    def _log_record(self, process: Process, record: Record) -> None:
        thread = record.thread
        if record.done is not None:
            begun = process.under_way.pop(thread)
            client = f"{process.number}.{thread}"
            self._log.add_completed(client, begun, record.done, record.started, record.ended)
            if not process.was_stopped(record.started, record.ended):
                counts = self._log.counts
                counts.longest_stall = max(counts.longest_stall, record.ended - record.started)
        if record.begun is None:
            process.epochs.pop(thread)
        else:
            process.under_way[thread] = record.begun
            process.epochs[thread] = record.begun.epoch

    def _remove(self, process: Process) -> None:
        self._selector.unregister(process.reader.pipe)
        with self._lock:
            self._processes.remove(process)
        for thread, begun in process.under_way.items():
            self._log.counts.outcomes["unknown"] += 1
            self._log.add_unknown(f"{process.number}.{thread}", begun)
        code = process.close()
        if code not in (0, -signal.SIGKILL):
            self.crashes += 1
