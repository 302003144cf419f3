"""Puts virtual time, threads and chance in the place of the real ones, in the library alone.

Whatever module of the library has imported :mod:`time`, :mod:`threading`, :mod:`queue`,
:mod:`random` or :mod:`secrets` finds another one under that name, which asks the task that runs.
Code that is no task, as that of other threads, gets what it would have got.
"""

from __future__ import annotations

import logging
import queue
import random
import secrets
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache, partial
from types import ModuleType
from typing import Any

from . import primitives
from .scheduler import current

EPOCH = 1_700_000_000.0


@contextmanager
def substituted() -> Iterator[None]:
    """Let the library see virtual time in tasks, until this is left."""
    plan = _plan(len(sys.modules))
    disabled = logging.root.manager.disable
    logging.disable()  # What a run logs is of no use to anybody.
    for module, name, _, other in plan:
        setattr(module, name, other)
    try:
        yield
    finally:
        for module, name, real, _ in plan:
            setattr(module, name, real)
        logging.disable(disabled)


@lru_cache(maxsize=1)
def _plan(number_of_modules: int) -> list[tuple[ModuleType, str, Any, Any]]:
    """What is put where: the module, the name, what is there and what comes there."""
    return [
        (module, name, value, other)
        for place, module in sorted(sys.modules.items())
        if place.startswith("sharedstate.")
        for name, value in vars(module).items()
        if (other := _other(value)) is not None
    ]


def _other(value: Any) -> Any:
    if isinstance(value, ModuleType):
        return _MODULES.get(value.__name__)
    if isinstance(value, type) and issubclass(value, threading.local):
        return partial(_PerTask, value)
    if isinstance(value, threading.local):
        return _PerTask(type(value))
    return None


class _Module:
    """A module of which some names are others in a task."""

    def __init__(self, real: ModuleType, **in_tasks: Callable[..., Any]) -> None:
        self._real = real
        self._in_tasks = in_tasks

    def __getattr__(self, name: str) -> Any:
        if name in self._in_tasks and current() is not None:
            return self._in_tasks[name]
        return getattr(self._real, name)


class _Random(_Module):
    def __getattr__(self, name: str) -> Any:
        task = current()
        return getattr(random if task is None else task.random, name)


class _PerTask:
    """A thread-local object: each task has one of its own."""

    def __init__(self, make: Callable[[], Any]) -> None:
        object.__setattr__(self, "_make", make)
        object.__setattr__(self, "_outside", make())

    def _own(self) -> Any:
        task = current()
        if task is None:
            return self._outside
        if self not in task.own:
            task.own[self] = self._make()
        return task.own[self]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._own(), name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._own(), name, value)


def _monotonic() -> float:
    task = current()
    assert task is not None
    task.step()
    return task.scheduler.now


def _time() -> float:
    return EPOCH + _monotonic()


def _sleep(seconds: float) -> None:
    task = current()
    assert task is not None
    task.step()
    task.sleep(seconds)


def _token(_: int | None = None) -> str:
    """A token that tells people whose it is."""
    task = current()
    assert task is not None
    return f"{next(task.tokens):03d}-{task.name.replace(chr(32), chr(45))}"


_MODULES = {
    "time": _Module(time, monotonic=_monotonic, time=_time, sleep=_sleep),
    "threading": _Module(
        threading,
        Lock=primitives.Lock,
        Event=primitives.Event,
        Thread=primitives.Thread,
        current_thread=primitives.current_thread,
    ),
    "queue": _Module(queue, SimpleQueue=primitives.SimpleQueue),
    "random": _Random(random),
    "secrets": _Module(secrets, token_urlsafe=_token, token_hex=_token),
}
