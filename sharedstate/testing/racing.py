"""Many callers at once."""

from __future__ import annotations

import multiprocessing
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from contextvars import copy_context
from typing import Any, TypeVar

R = TypeVar("R")

# Threads change so often that a race of theirs does show.
_SWITCH_SECONDS = 1e-5


def race(
    n: int, function: Callable[[], R], *, processes: bool = False, timeout: float = 60
) -> list[R]:
    """Call a function ``n`` times at once, and return all results.

    All callers wait at a gate until the last one is there.

    :param n: how many callers.
    :param function: what each of them calls once.
    :param processes: whether each caller is a process, forked from this one, instead of a thread
        of it. They share the state on a store that processes share; results have to be such as can
        be pickled.
    :param timeout: seconds that all may take together; :exc:`TimeoutError` after that.
    :returns: the results, in no order that means anything.
    :raises Exception: what one of the calls raised; of a process, as a :exc:`RuntimeError` with its
        traceback.
    """
    call = _in_processes if processes else _in_threads
    return call(n, function, timeout)


def _in_threads(n: int, function: Callable[[], R], timeout: float) -> list[R]:
    gate = threading.Barrier(n)
    calls: list[Future[R]] = [Future() for _ in range(n)]

    def member(call: Future[R]) -> None:
        try:
            gate.wait()
            call.set_result(function())
        except BaseException as error:  # noqa: BLE001  # the test gets it
            call.set_exception(error)

    deadline = time.monotonic() + timeout
    with _fast_switches():
        try:
            for call in calls:
                # Each has the contexts of the test, as that of an application.
                run = copy_context().run
                threading.Thread(target=run, args=(member, call), daemon=True).start()
            return [call.result(max(deadline - time.monotonic(), 0)) for call in calls]
        finally:
            gate.abort()  # Lets those go who still wait there.


@contextmanager
def _fast_switches() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(_SWITCH_SECONDS)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def _in_processes(n: int, function: Callable[[], R], timeout: float) -> list[R]:
    context = multiprocessing.get_context("fork")
    gate = context.Barrier(n)
    pipes = [context.Pipe(duplex=False) for _ in range(n)]
    members = [
        context.Process(target=_member, args=(gate, function, sender), daemon=True)
        for _, sender in pipes
    ]
    deadline = time.monotonic() + timeout
    try:
        for member in members:
            member.start()
        for _, sender in pipes:
            sender.close()
        return [_received(receiver, deadline) for receiver, _ in pipes]
    finally:
        for member, (receiver, _) in zip(members, pipes, strict=True):
            receiver.close()
            member.kill()
            member.join()
            member.close()


def _member(gate: Any, function: Callable[[], object], sender: Any) -> None:
    try:
        gate.wait()
        sender.send((function(), None))
    except BaseException:  # noqa: BLE001  # the test gets it
        sender.send((None, traceback.format_exc()))
    sender.close()


def _received(receiver: Any, deadline: float) -> Any:
    if not receiver.poll(max(deadline - time.monotonic(), 0)):
        raise TimeoutError("a process of the race has not come to an end in time")
    try:
        result, failure = receiver.recv()
    except EOFError:
        raise RuntimeError("a process of the race has died") from None
    if failure is not None:
        raise RuntimeError(f"in a process of the race:\n{failure}")
    return result
