"""A lease that is renewed in the background, and lost in time where it cannot be."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable

from ..errors import SharedStateError

SAFE = 0.9
"""The part of a lease after which the holder gives up by itself: the store's clock may be fast."""

_EVERY = 1 / 3
_AGAIN = 1 / 20


class Renewal:
    """Renews a lease in the background, until it is stopped or the lease is lost.

    A store that does not respond keeps the thread that asks it. So another one looks at the clock::

        renews    ask ── ask ── ask ─ (no response) …………………………
        watches   ········································ lost │ the lease ends in the store

    :param renew: returns whether the lease was renewed; ``False`` if it had ended.
    :param lease: seconds.
    :param began: the monotonic time before the store began the present lease.
    :param lost: called once, from a thread, if the lease is lost before :meth:`stop`.
    """

    def __init__(
        self, renew: Callable[[], bool], lease: float, began: float, lost: Callable[[], object]
    ) -> None:
        self.until = began + SAFE * lease
        """The monotonic time until which it is certainly held."""
        self._renew = renew
        self._lease = lease
        self._lost = lost
        self._stopped = threading.Event()
        self._process = os.getpid()
        for work in (self._keep, self._watch):
            threading.Thread(target=work, name="sharedstate-renewal", daemon=True).start()

    def stop(self) -> None:
        """Renew no more. What the store is asked just now may still be done."""
        if self._process == os.getpid():  # A forked child has no such threads.
            self._stopped.set()

    def _keep(self) -> None:
        pause = _EVERY
        while not self._stopped.wait(pause * self._lease):
            began = time.monotonic()
            try:
                is_held = self._renew()
            except SharedStateError:
                pause = _AGAIN
                continue
            if not is_held:
                self._lose()
                return
            self.until = began + SAFE * self._lease
            pause = _EVERY

    def _watch(self) -> None:
        while (left := self.until - time.monotonic()) > 0:
            if self._stopped.wait(left):
                return
        self._lose()

    def _lose(self) -> None:
        if not self._stopped.is_set():
            self._stopped.set()
            self._lost()
