"""A function that runs once in each period, in one of all processes."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from ..errors import StoreUnavailable
from ..keyspace.arguments import checked_key
from ..locks.held import checked_lease
from .period import Period

if TYPE_CHECKING:
    from ..state import State

P = ParamSpec("P")
R = TypeVar("R")


class Once:
    """Runs what it is given unless that was done in the present period, or is being done.

    The record of its name holds the number of the last period in which it was done; that grows
    only. So a period is not done twice where the clocks of hosts differ: it begins by the first.

    :param state: returns the state that holds the record; asked at each call.
    :param lease: seconds after which others may run it if the process that does has died.
    """

    def __init__(self, state: Callable[[], State], name: str, period: Period, lease: float) -> None:
        checked_key(name)
        self.name = name
        self._state = state
        self._period = period
        self._lease = checked_lease(lease)

    def run(self, job: Callable[[], R]) -> R | None:
        """Return what ``job`` returns if it is due; else ``None``, at once.

        :raises LockLost: if it was run, and the store could not be told in time that it still is,
            so that another process may have run it as well.
        """
        jobs = self._state().namespace("job")
        number = self._period.number(jobs.store.clock())
        if self._is_done(jobs, number):
            return None
        lock = jobs.lock(self.name, self._lease, 0, renew=True)
        if not lock.try_acquire():
            return None
        with ExitStack() as held:
            held.push(lock)
            if self._is_done(jobs, number):  # Between the first look and the lock.
                return None
            result = job()
            # For ever: it must not end with the default timeout, which is that of values.
            jobs.revise(
                self.name, lambda done: max(done.value, number) if done else number, timeout=0
            )
            held.pop_all()
        with suppress(StoreUnavailable):  # It is done, and the lock ends by itself.
            lock.release()
        return result

    def _is_done(self, jobs: State, number: int) -> bool:
        done = jobs.get(self.name)
        return done is not None and done >= number


def once(
    state: Callable[[], State], name: str | None, period: Period, lease: float
) -> Callable[[Callable[P, R]], Callable[P, R | None]]:
    """A decorator for functions that run once a period."""

    def decorate(function: Callable[P, R]) -> Callable[P, R | None]:
        if inspect.iscoroutinefunction(function) or inspect.isgeneratorfunction(function):
            raise TypeError(f"{function.__qualname__} would run after it was done: return a value")
        job = Once(state, name or f"{function.__module__}.{function.__qualname__}", period, lease)

        @functools.wraps(function)
        def run(*args: P.args, **kwargs: P.kwargs) -> R | None:
            return job.run(functools.partial(function, *args, **kwargs))

        return run

    return decorate
