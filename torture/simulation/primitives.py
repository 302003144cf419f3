"""What the code under test waits for, on virtual time; see :mod:`threading` and :mod:`queue`."""

from __future__ import annotations

import queue
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from math import inf
from typing import Any

from .scheduler import Task, current, step


class _Waiters:
    """Tasks that wait for the same, woken in the order of coming."""

    def __init__(self) -> None:
        self._tasks: deque[Task] = deque()

    def wait(self, seconds: float | None) -> None:
        task = current()
        if task is None:
            raise RuntimeError("only a task can wait for what is on virtual time")
        self._tasks.append(task)
        try:
            task.wait(seconds)
        finally:
            self._tasks.remove(task)

    def wait_until(self, condition: Callable[[], bool], timeout: float | None) -> bool:
        task = current()
        ends = inf if timeout is None or task is None else task.scheduler.now + timeout
        while not condition():
            assert task is not None
            left = ends - task.scheduler.now
            if left <= 0:
                return False
            self.wait(None if left == inf else left)
        return True

    def wake_one(self) -> None:
        if self._tasks:
            self._tasks[0].scheduler.wake(self._tasks[0])

    def wake_all(self) -> None:
        for task in self._tasks:
            task.scheduler.wake(task)


class Lock:
    """A :class:`threading.Lock`; as there, one that never waited may be ahead of a waiter."""

    def __init__(self) -> None:
        self._is_locked = False
        self._waiters = _Waiters()

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        step()
        if self._is_locked:
            seconds = None if timeout < 0 else timeout
            if not blocking or not self._waiters.wait_until(self._is_free, seconds):
                return False
        self._is_locked = True
        return True

    def release(self) -> None:
        step()
        if not self._is_locked:
            raise RuntimeError("release unlocked lock")
        self._is_locked = False
        self._waiters.wake_one()

    def locked(self) -> bool:
        return self._is_locked

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *error: object) -> None:
        self.release()

    def _is_free(self) -> bool:
        return not self._is_locked


class Event:
    """A :class:`threading.Event`."""

    def __init__(self) -> None:
        self._is_set = False
        self._waiters = _Waiters()

    def is_set(self) -> bool:
        return self._is_set

    def set(self) -> None:
        step()
        self._is_set = True
        self._waiters.wake_all()

    def clear(self) -> None:
        self._is_set = False

    def wait(self, timeout: float | None = None) -> bool:
        step()
        return self._waiters.wait_until(self.is_set, timeout)


class SimpleQueue:
    """A :class:`queue.SimpleQueue`."""

    def __init__(self) -> None:
        self._items: deque[Any] = deque()
        self._waiters = _Waiters()

    def put(self, item: Any) -> None:
        step()
        self._items.append(item)
        self._waiters.wake_one()

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        step()
        if not self._items:
            if not block or not self._waiters.wait_until(lambda: bool(self._items), timeout):
                raise queue.Empty
        return self._items.popleft()

    def get_nowait(self) -> Any:
        return self.get(block=False)


class Thread:
    """A :class:`threading.Thread`, of the process of the task that starts it."""

    def __init__(
        self,
        *,
        target: Callable[..., object],
        args: Iterable[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        name: str = "thread",
        daemon: bool = True,
    ) -> None:
        self._call = target, tuple(args), dict(kwargs or {})
        self.name = name
        self.daemon = daemon
        self._task: Task | None = None

    def start(self) -> None:
        starter = current()
        assert starter is not None
        target, args, kwargs = self._call
        name = f"{starter.process.name} {self.name.removeprefix('sharedstate-')}"
        self._task = starter.scheduler.spawn(starter.process, name, lambda: target(*args, **kwargs))
        self._task.own[Thread] = self

    def join(self, timeout: float | None = None) -> None:
        assert self._task is not None
        self._task.join(timeout)

    def is_alive(self) -> bool:
        return self._task is not None and not self._task.has_ended


def current_thread() -> Any:
    """The :class:`Thread` that runs, or what stands for the task that no code under test began."""
    task = current()
    assert task is not None
    return task.own.get(Thread, task)
