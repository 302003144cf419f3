"""Lets a fork wait until no operation is in progress."""

from __future__ import annotations

import threading
import time
from collections import deque

_POLL_SECONDS = 0.0005


class Gate:
    """Many operations are inside at once, or a fork holds it shut and none is.

    What an operation uses cannot be copied in the middle of it: SQLite and LMDB keep locks in the
    process that another thread would hold for ever in the child. An operation is inside as a
    context manager; threads that come to a gate that is shut wait until it opens.
    """

    def __init__(self) -> None:
        # Appending and popping are atomic, which adding to a number is not.
        self._inside: deque[None] = deque()
        self._opened: threading.Event | None = None
        self._shutting = threading.Lock()

    def __enter__(self) -> None:
        self._inside.append(None)
        while (opened := self._opened) is not None:
            # The thread that shut the gate has seen this one inside, or this one has seen it shut.
            self._inside.pop()
            opened.wait()
            self._inside.append(None)

    def __exit__(self, *error: object) -> None:
        self._inside.pop()

    def shut(self, timeout: float) -> bool:
        """Let nobody in, and wait for those inside; returns whether all left in time."""
        self._shutting.acquire()  # Another thread that forks opens it before long.
        self._opened = threading.Event()
        deadline = time.monotonic() + timeout
        while not self.is_empty():
            if time.monotonic() > deadline:
                return False
            time.sleep(_POLL_SECONDS)
        return True

    def open(self) -> None:
        """Let operations in again."""
        opened, self._opened = self._opened, None
        if opened is not None:
            opened.set()
        self._shutting.release()

    def is_empty(self) -> bool:
        """Whether no operation is in progress."""
        return not self._inside
