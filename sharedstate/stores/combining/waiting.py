"""One operation whose caller waits for it, and how it ends."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from copy import copy
from typing import Any

from ...errors import Overloaded, StoreUnavailable
from ..base import Done
from ..operations import Operation

logger = logging.getLogger(__name__)


class Waiting:
    """An operation that was left in the queue.

    It ends once, with a result or an error: the thread that took it out of the queue ends it.

    :param done: what to call when it has ended; without it a thread waits for :attr:`woken`.
    """

    __slots__ = ("done", "error", "has_ended", "keys", "lead", "operation", "result", "since",
                 "woken")  # fmt: skip

    def __init__(self, keys: Sequence[bytes], operation: Operation, done: Done | None) -> None:
        self.keys = keys
        self.operation = operation
        self.done = done
        self.since = 0.0
        """When it was left in the queue, by :func:`time.monotonic`."""
        self.has_ended = False
        self.result: Any = None
        self.error: BaseException | None = None
        self.lead: Any = None
        """The leadership, from the moment in which it is handed over to the one that waits."""
        self.woken = threading.Lock()
        """Is released when the operation has ended, or is to be done by the one that waits."""
        self.woken.acquire()

    def end(self, result: Any, error: BaseException | None = None) -> None:
        """Give the caller its result or its error; a callback is called later, by :meth:`tell`."""
        self.result, self.error, self.has_ended = result, error, True
        if self.done is None and self.lead is None:
            self.woken.release()

    def tell(self) -> None:
        """Call what waits for the result, if that is a callback; once."""
        done, self.done = self.done, None
        if done is not None:
            try:
                done(self.result, self.error)
            except Exception:
                # The caller's own error, and not that of the others in this round.
                logger.exception("what waited for an operation on the store has failed")

    def outcome(self) -> Any:
        """The result, or the error raised."""
        if self.error is not None:
            try:
                raise self.error
            finally:
                self.error = None  # An error that holds its own frame is a circle.
        return self.result


def copied(error: Exception) -> Exception:
    """An error of several callers, for one of them."""
    own = copy(error)
    own.__cause__ = error
    return own


def outcome_unknown(reason: str) -> StoreUnavailable:
    """The error of an operation that somebody had taken, and has not brought to an end."""
    return StoreUnavailable(reason, outcome_unknown=True)


def too_late(timeout: float) -> Overloaded:
    """The error of an operation for which there was no time any more."""
    return Overloaded(
        f"others were in the way for {timeout} seconds (CACHE_TIMEOUT); nothing was applied"
    )
