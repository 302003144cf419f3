"""Tasks on virtual time: one runs at a time, and nothing but a seed decides which and when."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count
from random import Random
from typing import Any

from greenlet import GreenletExit, getcurrent, greenlet

from .disturbances import Chances, Disturbance, Rates, sure

MAX_STEPS = 500_000

_JOSTLE_SECONDS = 0.002
_STOP_SECONDS = 2.0
_STALL_SECONDS = 1.0
_NO_INTERRUPT = 10_000

countdown = [0]
"""How many points the task that runs passes until it is interrupted."""


class Violation(Exception):
    """Something that is promised does not hold."""


class Process:
    """What is stopped and killed together: tasks that share memory."""

    def __init__(self, name: str, is_mortal: bool = True) -> None:
        self.name = name
        self.is_mortal = is_mortal
        self.is_dead = False
        self.resumes = 0.0
        """Until when it is stopped."""
        self.tasks: list[Task] = []


class Task:
    """What a thread is in the real world; runs until it waits.

    :param name: of no other task.
    """

    def __init__(
        self, scheduler: Scheduler, process: Process, name: str, function: Callable[[], object]
    ) -> None:
        self.scheduler = scheduler
        self.process = process
        self.name = name
        self.chances = Chances(scheduler.seed, name, scheduler.chosen)
        self._interrupts = Chances(scheduler.seed, f"{name} interrupted", scheduler.chosen)
        self.random = Random(f"{scheduler.seed} {name}")
        """For the code under test."""
        self.own: dict[object, Any] = {}
        """The thread-local objects of this task, by what stands for them in the module."""
        self.has_ended = False
        self.is_observer = False
        """Whether it only looks, at one moment: nothing happens at its steps."""
        self.ticket = 0
        self.tokens = count(1)
        self.countdown = self._distance = self._next_interrupt()
        self._function = function
        self._joining: list[Task] = []
        self.greenlet = greenlet(self._run, scheduler.hub)
        self.greenlet.task = self
        process.tasks.append(self)

    def step(self) -> None:
        """A point at which others may go on, or this process may be stopped or killed."""
        scheduler = self.scheduler
        if self.is_observer:
            return
        self.count_steps(1)
        disturbance = self.chances.draw(scheduler.rates.of_steps, scheduler.disturbances)
        if disturbance is None:
            return
        kind, size = disturbance
        if kind == "jostled":
            scheduler.note("jostled")
            self.sleep(size * _JOSTLE_SECONDS)
        elif self.process.is_mortal:
            scheduler.note(
                f"{self.process.name} is {kind}"
                + f" for {size * _STOP_SECONDS:.2f} s" * (kind == "stopped")
            )
            if kind == "stopped":
                self.process.resumes = scheduler.now + size * _STOP_SECONDS
                self.sleep(0)
            else:
                scheduler.kill(self.process)

    def trouble(self) -> tuple[str, float]:
        """What goes wrong with a request, and how much; an empty text if nothing does."""
        scheduler = self.scheduler
        return self.chances.draw(scheduler.rates.of_requests, scheduler.disturbances) or ("", 0.0)

    def interrupt(self) -> None:
        """A point at which others may go on because this thread is interrupted."""
        scheduler = self.scheduler
        self.count_steps(self._distance)
        rates = scheduler.rates.of_interrupts
        self._distance = countdown[0] = self._next_interrupt()
        if not rates or self.is_observer or scheduler.has_ended:
            return
        disturbance = self._interrupts.draw(sure(rates), scheduler.disturbances)
        if disturbance is not None:
            kind, size = disturbance
            if scheduler.trace is not None:
                code = sys._getframe(2)
                scheduler.note(f"{kind} in {code.f_code.co_qualname}, line {code.f_lineno}")
            self.sleep(size * (_STALL_SECONDS if kind == "stalled" else _JOSTLE_SECONDS))

    def _next_interrupt(self) -> int:
        rate = sum(rate for _, rate in self.scheduler.rates.of_interrupts)
        return self._interrupts.distance(rate) if rate else _NO_INTERRUPT

    def count_steps(self, number: int) -> None:
        """End the run if there were too many of them: something goes round in circles."""
        scheduler = self.scheduler
        scheduler.steps += number
        if scheduler.steps > MAX_STEPS:
            scheduler.fail(Violation(f"{self.name} goes round in circles"), "too many steps")
            self.wait()

    def sleep(self, seconds: float) -> None:
        """Let others go on for so long."""
        self.wait(max(seconds, 0.0))

    def wait(self, seconds: float | None = None) -> None:
        """Let others go on until one of them wakes this one, or so many seconds are over."""
        scheduler = self.scheduler
        if scheduler.has_ended:
            raise GreenletExit
        self.ticket += 1
        if seconds is not None:
            scheduler.wake(self, seconds)
        scheduler.hub.switch()

    def join(self, seconds: float | None = None) -> None:
        """Let the present task wait until this one has ended or is dead."""
        task = current()
        if task is not None and not (self.has_ended or self.process.is_dead):
            self._joining.append(task)
            task.wait(seconds)
            if task in self._joining:
                self._joining.remove(task)

    def end(self) -> None:
        """Let those that wait for the end of this task go on."""
        self.has_ended = True
        for task in self._joining:
            self.scheduler.wake(task)
        self._joining.clear()

    def _run(self) -> None:
        try:
            self._function()
        except Exception as error:  # noqa: BLE001  # it is the result of the run
            self.scheduler.fail(error, f"{self.name} has ended with {error!r}")
        finally:
            self.end()


class Scheduler:
    """Runs tasks in the order of virtual time; those of one moment in the order of asking.

    :param seed: what random choices are made of.
    :param rates: how likely each kind of disturbance is, at each point where it is possible.
    :param chosen: which disturbances happen; all that are drawn, if left out.
    :param is_traced: whether notes are kept.
    """

    def __init__(
        self,
        seed: str,
        rates: Rates,
        chosen: frozenset[Disturbance] | None = None,
        is_traced: bool = False,
    ) -> None:
        self.seed = seed
        self.chosen = chosen
        self.now = 0.0
        self.ends = 600.0
        """The virtual time at which everything has to be over."""
        self.has_ended = False
        self.failure: BaseException | None = None
        self.disturbances: list[Disturbance] = []
        self.trace: list[str] | None = [] if is_traced else None
        self.hub = getcurrent()
        self.steps = 0
        self._tasks: list[Task] = []
        self._queue: list[tuple[float, int, Task | None, int, Callable[[], object] | None]] = []
        self._order = count()
        self._names: dict[str, int] = {}
        self.rates = rates

    def spawn(self, process: Process, name: str, function: Callable[[], object]) -> Task:
        """Start a task; the present one goes on."""
        number = self._names[name] = self._names.get(name, 0) + 1
        task = Task(self, process, name if number == 1 else f"{name}-{number}", function)
        self._tasks.append(task)
        if not process.is_dead:
            self.wake(task)
        return task

    def wake(self, task: Task, seconds: float = 0.0) -> None:
        """Let a task that waits go on, so many seconds from now."""
        heappush(self._queue, (self.now + seconds, next(self._order), task, task.ticket, None))

    def call(self, seconds: float, function: Callable[[], object]) -> None:
        """Call a function that does not wait, so many seconds from now."""
        heappush(self._queue, (self.now + seconds, next(self._order), None, 0, function))

    def kill(self, process: Process) -> None:
        """Let the tasks of a process never go on again; does not return to one of them."""
        process.is_dead = True
        for task in process.tasks:
            task.end()
        present = current()
        if present is not None and present.process is process:
            self.hub.switch()

    def note(self, text: str) -> None:
        """Add a line to the trace."""
        if self.trace is not None:
            task = current()
            self.trace.append(f"{self.now:9.4f} s  {task.name if task else 'store':<12} {text}")

    def fail(self, error: BaseException, note: str) -> None:
        """End the run with what is wrong."""
        if self.failure is None and not self.has_ended:
            self.failure = error
            self.note(note)

    def run(self, main: Callable[[], object]) -> None:
        """Run a task until it has ended; those that it leaves behind are ended then."""
        first = self.spawn(Process("main", is_mortal=False), "main", main)
        collects = gc.isenabled()
        gc.disable()  # It would end what is not used any more at moments that no seed decides.
        try:
            while self.failure is None and not first.has_ended:
                self._step()
        finally:
            self._end()
            if collects:
                gc.enable()

    def _step(self) -> None:
        if not self._queue:
            waiting = ", ".join(task.name for task in self._tasks if not task.has_ended)
            self.fail(Violation(f"{waiting} wait for ever"), "nobody can go on")
            return
        when, _, task, ticket, function = heappop(self._queue)
        if when > self.ends:
            waiting = ", ".join(task.name for task in self._tasks if not task.has_ended)
            self.fail(Violation(f"not over after {self.now:.1f} s: {waiting}"), "too late")
            return
        self.now = max(self.now, when)
        if task is None:
            assert function is not None
            function()
        elif task.ticket == ticket and not task.has_ended:
            if task.process.resumes > self.now:
                heappush(self._queue, (task.process.resumes, next(self._order), task, ticket, None))
                return
            task.ticket += 1
            countdown[0] = task.countdown
            task.greenlet.switch()
            task.countdown = countdown[0]

    def _end(self) -> None:
        """End every task where it waits; what it does to clean up is not done any more."""
        self.has_ended = True
        for task in self._tasks:
            if task.greenlet:
                task.greenlet.throw(GreenletExit)
            del task.greenlet.task


def current() -> Task | None:
    """The task that runs; ``None`` outside of all, as in other threads."""
    task: Task | None = getattr(getcurrent(), "task", None)
    return task


def step() -> None:
    """See :meth:`Task.step`; of the task that runs, if one does."""
    task = current()
    if task is not None:
        task.step()
