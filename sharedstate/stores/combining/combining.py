"""Lets the operations of a process that wait for the store be done together."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar
from weakref import finalize

from ...errors import Overloaded, SharedStateError, StoreUnavailable
from ..base import Done, Store, watch_forks
from ..guards.guard import Interrupted, Wrapper
from ..operations import Get, Operation, Record
from ..support.sizes import size_of
from .committer import Committer
from .together import do_together
from .waiting import Waiting, outcome_unknown, too_late

R = TypeVar("R")

_QUEUE = 4096
_QUEUE_BYTES = 64 << 20
_ROUND = 256
_ROUND_BYTES = 4 << 20
_LARGE = 64 << 10


class Combining(Wrapper):
    """A store to which one thread of the process goes at a time, for all that wait.

    ::

        thread 1   op a ──┐ leads: its own, one transaction ── a's result, hands over to thread 2
        thread 2     op b ─┤ waits ····· leads: all that wait, one transaction ── b's result
        thread 3      op c ┘ waits ······················································ c's result

    A caller that finds no leader does its own operation at once. Callers that come meanwhile leave
    their operations in a queue; the leader hands the leadership over to the first of them, and
    that one does all that wait in one step. Nobody waits for others to come.

    Nothing here is locked: taking from the queue is atomic, and so one thread ends an operation.
    That two threads lead is possible, after one was out of time, and harmless.
    """

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self._begin()
        watch_forks(self)

    def _begin(self) -> None:
        self._queue: deque[Waiting] = deque()
        # One thread may acquire it and another one release it, when the leadership is handed over.
        self._lead = threading.Lock()
        self._rounds = 0
        self._committers: dict[str, Committer] = {}  # One, when something was submitted.

    def transact(self, keys: Sequence[bytes], operation: Operation) -> Any:
        """See :meth:`Store.transact`; beside others it may take three times as long to fail."""
        lead = self._lead
        if not self._queue and lead.acquire(False):
            try:
                return self._store.transact(keys, operation)
            finally:
                lead.release()
                if self._queue:
                    self._appoint()
        return self._queued(keys, operation)

    def submit(self, keys: Sequence[bytes], operation: Operation, done: Done) -> None:
        if not self._committers:
            self._start()  # Before anything can wait for it.
        try:
            self._leave(Waiting(keys, operation, done))
        except Overloaded as error:
            done(None, error)

    def read(self, keys: Sequence[bytes]) -> list[Record | None]:
        return self._store.read(keys)

    def values(self, keys: Sequence[bytes]) -> list[bytes | None]:
        return self._store.values(keys)

    def close(self) -> None:
        """See :meth:`Store.close`; what was left in the queue before is done first."""
        if self._queue or self._lead.locked():
            with suppress(StoreUnavailable):
                self._queued((), Get())
        committer = self._committers.pop("", None)
        if committer is not None:
            committer.end()
            committer.join(self.timeout)
        self._store.close()

    def after_fork_in_child(self) -> None:
        self._begin()

    def _call(self, keys: Sequence[bytes], method: Callable[..., R], *arguments: Any) -> R:
        return method(*arguments)

    def _leave(self, waiting: Waiting) -> None:
        """Leave an operation in the queue, and see to it that somebody leads."""
        queue = self._queue
        if len(queue) >= _QUEUE:
            raise self._too_many()
        if size_of(waiting.operation) > _LARGE:
            held = sum(size_of(other.operation) for other in list(queue))
            if held > _QUEUE_BYTES:
                raise self._too_many()
        waiting.since = time.monotonic()
        queue.append(waiting)
        self._appoint()

    def _appoint(self) -> None:
        """Let the first that waits lead, if nobody does.

        Is called after leaving an operation in the queue, and after the leadership was released:
        one of two that do so at the same moment finds the queue filled and nobody leading.
        """
        while self._queue and (lead := self._lead).acquire(False):
            try:
                first = self._queue.popleft()
            except IndexError:
                lead.release()
                continue
            self._rounds += 1
            first.lead = lead
            if first.done is None:
                first.woken.release()
            else:
                self._start().give(partial(self._do_round, first))

    def _queued(self, keys: Sequence[bytes], operation: Operation) -> Any:
        waiting = Waiting(keys, operation, None)
        try:
            self._leave(waiting)
            self._wait(waiting)
        except SharedStateError:
            raise
        except BaseException:
            self._give_up(waiting)
            raise
        if waiting.lead is not None:
            self._do_round(waiting)
        return waiting.outcome()

    def _hand_over(self, leader: Waiting) -> None:
        leader.lead.release()
        self._appoint()

    def _do_round(self, first: Waiting) -> None:
        """Lead: do the operations that wait, and hand over."""
        taken = [first]
        try:
            with self._store.host_lock(first.keys):
                self._take(taken)
                do_together(self._store, self._current(taken))
            for waiting in taken:
                if not waiting.keys:  # Was left there to know when those before it are done.
                    waiting.end(None)
        finally:
            for waiting in taken:
                if not waiting.has_ended:
                    reason = "the thread that did it together with others was ended"
                    waiting.end(None, Interrupted(reason, outcome_unknown=True))
            self._hand_over(first)
            for waiting in taken:
                waiting.tell()

    def _current(self, taken: Sequence[Waiting]) -> list[Waiting]:
        """Those that are not too old; threads that wait look at the time themselves."""
        oldest = time.monotonic() - self.timeout
        current = []
        for waiting in taken:
            if waiting.done is not None and waiting.since < oldest:
                waiting.end(None, too_late(self.timeout))
                waiting.tell()  # The others may take as long again.
            elif waiting.keys:
                current.append(waiting)
        return current

    def _take(self, taken: list[Waiting]) -> None:
        size = size_of(taken[0].operation)
        while len(taken) < _ROUND and size < _ROUND_BYTES:
            try:
                waiting = self._queue.popleft()
            except IndexError:
                return
            taken.append(waiting)
            size += size_of(waiting.operation)

    def _wait(self, waiting: Waiting) -> None:
        """Wait until the operation has ended, or is to be done by this thread."""
        rounds = self._rounds
        if waiting.woken.acquire(timeout=self.timeout):
            return
        if not self._withdraw(waiting):
            if waiting.woken.acquire(timeout=2 * self.timeout):
                return
            raise outcome_unknown("the thread that does it together with others does not return")
        if self._rounds == rounds:
            self._depose()
        raise too_late(self.timeout)

    def _withdraw(self, waiting: Waiting) -> bool:
        """Whether it was still in the queue, which it has left now."""
        try:
            self._queue.remove(waiting)
        except ValueError:
            return False
        return True

    def _give_up(self, waiting: Waiting) -> None:
        """Let others go on, where the one that waits was interrupted."""
        if waiting.since and not self._withdraw(waiting) and not waiting.has_ended:
            # Somebody has taken it: to do it, or to let this one lead.
            if waiting.lead is None:
                waiting.woken.acquire(timeout=self.timeout)
            if waiting.lead is not None:
                self._hand_over(waiting)

    def _depose(self) -> None:
        """Let others lead: the leader has done nothing for as long as one may wait."""
        self._lead = threading.Lock()
        self._appoint()

    def _start(self) -> Committer:
        if (found := self._committers.get("")) is not None:
            return found
        committer = Committer()
        # setdefault is atomic: of threads that come together one wins.
        kept = self._committers.setdefault("", committer)
        if kept is not committer:
            committer.end()
        else:
            finalize(self, committer.end).atexit = False
        return kept

    def _too_many(self) -> Overloaded:
        return Overloaded(f"{len(self._queue):,} operations wait for the store already")
