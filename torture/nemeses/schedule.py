"""The schedule of faults: one after the other, for as long as a run takes."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

from ..run_log import Fault, RunLog
from .nemesis import Nemesis, Targets

RECOVERY_SECONDS = 30.0


class Schedule:
    """A thread that injects faults and ends them, each nemesis as often as the others.

    :param quiet: seconds between two faults, at least and at most.

    The thread lives until `close`: servers that it started again end with it.
    """

    def __init__(
        self, nemeses: Sequence[Nemesis], targets: Targets, log: RunLog, quiet: tuple[float, float]
    ) -> None:
        self._quiet = quiet
        self._nemeses = nemeses
        self._targets = targets
        self._log = log
        self._ends = threading.Event()
        self._healed = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._work)
        self._thread.start()

    def end(self) -> None:
        """Inject no more faults; `is_healed` is true once the last fault is over."""
        self._ends.set()

    @property
    def is_healed(self) -> bool:
        return self._healed.is_set()

    @property
    def has_injected_all(self) -> bool:
        """Whether each nemesis has injected a fault, or none will any more."""
        return len(self._log.faults) >= len(self._nemeses) or self.is_healed

    def close(self) -> None:
        """Return when all is as it was.

        :raises RuntimeError: a server did not start again; not if it is closed before it has ended.
        """
        has_ended = self.is_healed
        self._ends.set()
        self._targets.is_over.set()
        if self._log.current_fault is not None:
            self._log.current_fault.has_recovered.set()
        self._thread.join()
        if has_ended and self._error is not None:
            raise self._error

    def _work(self) -> None:
        try:
            while not self._ends.is_set():
                for nemesis in self._targets.rng.sample(self._nemeses, len(self._nemeses)):
                    if self._ends.wait(self._targets.rng.uniform(*self._quiet)):
                        break
                    self._inject(nemesis)
                if not self._nemeses:
                    self._ends.wait()
        except BaseException as error:  # noqa: BLE001  # Raised by `close`.
            self._error = error
        self._healed.set()
        self._targets.is_over.wait()

    def _inject(self, nemesis: Nemesis) -> None:
        fault = Fault(nemesis.name, "", time.monotonic())
        self._log.add_fault(fault)
        try:
            with nemesis.fault(self._targets) as fault.target:
                self._ends.wait(self._targets.rng.uniform(*nemesis.seconds))
        finally:
            fault.ended = time.monotonic()
        fault.has_recovered.wait(RECOVERY_SECONDS)
