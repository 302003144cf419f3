"""One deadline for everything that a call waits for: a connection, a lock, a reply."""

from __future__ import annotations

import time
from contextvars import ContextVar, Token

_deadline: ContextVar[float] = ContextVar("deadline")


class until:  # reads as a statement: with until(deadline)
    """Inside of its ``with``, :func:`left` counts down to ``deadline``, a monotonic time."""

    __slots__ = ("_at", "_token")

    def __init__(self, deadline: float) -> None:
        self._at = deadline
        self._token: Token[float]

    def __enter__(self) -> None:
        self._token = _deadline.set(self._at)

    def __exit__(self, *_: object) -> None:
        _deadline.reset(self._token)


def left(seconds: float) -> float:
    """How many seconds the call may still wait, never less than 0; ``seconds`` outside of one."""
    deadline = _deadline.get(None)
    return seconds if deadline is None else max(deadline - time.monotonic(), 0.0)
