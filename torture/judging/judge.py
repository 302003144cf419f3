"""Judges epochs when no client asks for their keys any more, and throws them away."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field

from sharedstate import SharedStateError, State, StoreUnavailable

from ..clients.calls import frozen
from ..clients.epoch import guarded_key_of, keys_of
from ..run_log import Epoch
from .key_model import MISSING, one_key
from .linearizability import Event, TooHard, linearizable
from .shortest import shortest

LIMIT = 1_000_000
WAITING = 8
TRIES = 200


@dataclass
class Violation:
    """A key whose history cannot have happened.

    :param history: the shortest part of it that cannot.
    :param initial: what the key held at its beginning.
    :param nemeses: those that were at work.
    :param reason: why the documentation does not promise more, if it does not.
    """

    key: str
    history: list[Event]
    initial: Hashable
    nemeses: list[str]
    reason: str = ""


@dataclass
class Verdicts:
    """What was found in all epochs."""

    keys: int = 0
    events: int = 0
    undecided: int = 0
    violations: list[Violation] = field(default_factory=list)
    losses: list[Violation] = field(default_factory=list)
    violated: int = 0
    lost: int = 0


class Judge:
    """A thread that judges the epochs submitted to it.

    :param state: to read the keys in the end, and to remove them; `None` where that is impossible.
    :param reasons: what may be lost under which nemesis.
    """

    def __init__(self, state: State | None, reasons: Mapping[str, str], most: int = 5) -> None:
        self.verdicts = Verdicts()
        self.found = threading.Event()
        self._state = state
        self._reasons = reasons
        self._most = most
        self._waiting: queue.Queue[Epoch | None] = queue.Queue(WAITING)
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._work)
        self._thread.start()

    def submit(self, epoch: Epoch) -> None:
        """Have an epoch judged; waits while there are many before it."""
        while self._thread.is_alive():
            try:
                self._waiting.put(epoch, timeout=1)
                return
            except queue.Full:
                continue
        self._raise()

    def close(self) -> None:
        """Return when all is judged."""
        if self._thread.is_alive():
            self._waiting.put(None)
        self._thread.join()
        self._raise()

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error

    def _work(self) -> None:
        try:
            while (epoch := self._waiting.get()) is not None:
                self._judge(epoch)
        except BaseException as error:  # noqa: BLE001  # Raised in the thread that submits.
            self._error = error

    def _judge(self, epoch: Epoch) -> None:
        for key, last in self._last_reads(epoch).items():
            epoch.histories.setdefault(key, []).append(last)
        for key, history in epoch.histories.items():
            self.verdicts.keys += 1
            self.verdicts.events += len(history)
            try:
                if not linearizable(history, one_key, limit=LIMIT):
                    self._add_violation(epoch, key, history)
            except TooHard:
                self.verdicts.undecided += 1

    def _add_violation(self, epoch: Epoch, key: str, history: list[Event]) -> None:
        nemeses = sorted({fault.nemesis for fault in epoch.faults})
        reason = next((self._reasons[name] for name in nemeses if name in self._reasons), "")
        verdicts = self.verdicts
        if reason:
            verdicts.lost += 1
        else:
            verdicts.violated += 1
        found = verdicts.losses if reason else verdicts.violations
        if len(found) < self._most:
            found.append(Violation(key, *shortest(history, one_key), nemeses, reason))
        if not reason:
            self.found.set()

    def _last_reads(self, epoch: Epoch) -> dict[str, Event]:
        """What the keys hold now, which nobody but lost calls still changes."""
        if self._state is None:
            return {}
        keys = keys_of(epoch.number)
        for _ in range(TRIES):
            started = time.monotonic()
            try:
                values = self._state.get_many(*keys, default=MISSING)
                ended = time.monotonic()
                self._remove(epoch.number)
            except StoreUnavailable:
                threading.Event().wait(0.05)
                continue
            return {
                key: Event("the end", "get", None, frozen(value), started, ended)
                for key, value in zip(keys, values, strict=True)
            }
        return {}

    def _remove(self, number: int) -> None:
        assert self._state is not None
        try:
            keys = keys_of(number)
            self._state.delete_many(*keys, guarded_key_of(keys))
        except SharedStateError:
            pass  # They stay.
