"""One process among all that are candidates, for as long as it lives."""

from __future__ import annotations

import logging
import os
import random
import threading
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING

from ..errors import SharedStateError
from ..keyspace.arguments import checked_key
from ..locks.held import checked_lease
from ..locks.lock import Lock

if TYPE_CHECKING:
    from ..state import State

logger = logging.getLogger(__name__)

_EVERY = 1 / 3


class Leader:
    """A candidate: of all with its name, in whatever processes, one at a time is the leader.

    ::

        leader = cache.leader("scheduler").start()
        if leader.is_leader: ...

    A thread looks three times a lease whether there is a leader, and becomes it if not. It renews
    the lease then, and gives up before that ends if it cannot. Start it in the process that is to
    lead: a child that is forked later is no candidate before it calls :meth:`start` too.

    :param state: returns the state that knows the leader; asked when it starts.
    :param lease: seconds, from 0.01 to a day, after which another one leads if the leader's process
        has died.
    :param on_start: called in the thread when it has become the leader. If it raises, that is
        logged, and another one may lead.
    :param on_stop: called in the thread when it is the leader no more.
    """

    def __init__(
        self,
        state: Callable[[], State],
        name: str,
        lease: float = 15,
        on_start: Callable[[], object] | None = None,
        on_stop: Callable[[], object] | None = None,
    ) -> None:
        checked_key(name)
        self.name = name
        self.lease = checked_lease(lease)
        self._state = state
        self._on_start = on_start
        self._on_stop = on_stop
        self._lock: Lock | None = None
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None
        self._process = 0

    @property
    def is_leader(self) -> bool:
        """Whether it is the leader, by the clock of this process; the store is not asked."""
        lock = self._lock
        return lock is not None and lock.is_held

    @property
    def fence(self) -> int:
        """A number that is higher than those of all leaders before, as :attr:`Lock.fence`."""
        return self._lock.fence if self._lock is not None else 0

    def start(self) -> Leader:
        """Be a candidate from now on; returns at once.

        :returns: this object.
        """
        if self._thread is None or self._process != os.getpid():
            self._process, self._stopped = os.getpid(), threading.Event()
            leaders = self._state().namespace("leader")
            self._lock = leaders.lock(self.name, self.lease, 0, renew=True)
            arguments = self._lock, self._stopped
            self._thread = threading.Thread(
                target=self._run, args=arguments, name="sharedstate-leader", daemon=True
            )
            self._thread.start()
        return self

    def stop(self) -> None:
        """Be the leader no more, and no candidate; returns when another one can lead."""
        thread, self._thread = self._thread, None
        if thread is None or self._lock is None or self._process != os.getpid():
            return
        self._stopped.set()
        self._lock.lost.set()  # Ends leading, and the wait for that.
        if thread is not threading.current_thread():
            thread.join(self.lease)

    def __enter__(self) -> Leader:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _run(self, lock: Lock, stopped: threading.Event) -> None:
        pause = 0.0
        while not stopped.wait(pause):
            pause = self.lease * _EVERY * (0.5 + random.random() / 2)
            try:
                is_leader = lock.try_acquire()
            except SharedStateError as error:
                logger.warning("no leader %r could be looked for: %s", self.name, error)
                continue
            if is_leader:
                try:
                    self._lead(lock, stopped)
                finally:
                    with suppress(SharedStateError):  # It ends by itself.
                        lock.discard()

    def _lead(self, lock: Lock, stopped: threading.Event) -> None:
        if not self._call(self._on_start):
            return
        # `stop` sets the first, then `lost` of the lock as it is acquired now.
        if not stopped.is_set():
            lock.lost.wait()
        self._call(self._on_stop)

    def _call(self, function: Callable[[], object] | None) -> bool:
        try:
            if function is not None:
                function()
        except Exception:  # a thread has nobody to raise it to
            logger.exception("%r of the leader %r failed", function, self.name)
            return False
        return True
