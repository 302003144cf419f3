"""A thread that leads where nobody waits who could."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from contextlib import suppress

Task = Callable[[], object]


class Committer:
    """Does what it is given in a thread of its own, one after the other."""

    def __init__(self) -> None:
        self._tasks: queue.SimpleQueue[Task | None] = queue.SimpleQueue()
        self._has_ended = False
        self._thread = threading.Thread(
            target=_work, args=(self._tasks,), name="sharedstate-committer", daemon=True
        )
        self._thread.start()

    def give(self, task: Task) -> None:
        """Let the thread do it; does not wait, but for a thread that was ended meanwhile."""
        self._tasks.put(task)
        if self._has_ended:  # It has looked for the last time, perhaps.
            _do_rest(self._tasks)

    def end(self) -> None:
        """Let the thread end when it has done what it was given; does not wait."""
        self._has_ended = True
        self._tasks.put(None)

    def join(self, timeout: float) -> None:
        """Wait until the thread has ended, unless this is it."""
        if self._thread is not threading.current_thread():
            self._thread.join(timeout)


def _work(tasks: queue.SimpleQueue[Task | None]) -> None:
    # Without the committer: a store that nobody uses any more can be collected, and ends this.
    while (task := tasks.get()) is not None:
        _do(task)
        del task
    _do_rest(tasks)


def _do_rest(tasks: queue.SimpleQueue[Task | None]) -> None:
    with suppress(queue.Empty):
        while True:
            if (task := tasks.get_nowait()) is not None:
                _do(task)


def _do(task: Task) -> None:
    try:
        task()
    except BaseException:  # noqa: BLE001
        pass  # The caller that waited for it has its error.
