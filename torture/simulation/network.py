"""A store behind a network: requests and responses are late or lost, and the server is down."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from math import inf
from typing import Any, TypeVar

from sharedstate import StoreFull, StoreUnavailable
from sharedstate.stores.guards.guard import Wrapper
from sharedstate.stores.memory import MemoryStore
from sharedstate.stores.operations import Each, Once, Operation

from .disturbances import Chances
from .scheduler import Scheduler, Task, current
from .substitution import EPOCH

R = TypeVar("R")

LATENCY = 0.0005
TIMEOUT = 0.5
LARGEST_DRIFT = 0.08

_SLOW_SECONDS = 1.0
_DOWN_SECONDS = 2.0

Applied = Callable[[Sequence[bytes], Operation, Any, "BaseException | None"], object]


class Server:
    """The records, on a clock of their own, and who is told of each operation that is applied."""

    def __init__(self, scheduler: Scheduler) -> None:
        self.scheduler = scheduler
        # Outside of all tasks: its lock is a real one, and nobody is interrupted while he has it.
        self.records = MemoryStore(clock=self.clock, timeout=TIMEOUT)
        self.chances = Chances(scheduler.seed, "server", scheduler.chosen)
        self.rate = 1.0
        self.watchers: list[Applied] = []
        self.back = 0.0
        """Until when it is down."""
        self.refuses = False
        """Whether it refuses connections while it is down, or does not respond."""

    def clock(self) -> float:
        return EPOCH + self.scheduler.now * self.rate

    def drift(self) -> None:
        """Let its clock be too fast or too slow, by less than a lock allows for."""
        disturbance = self.chances.draw([("drift", 0.5)], self.scheduler.disturbances)
        if disturbance is not None:
            self.rate = 1 + (2 * disturbance[1] - 1) * LARGEST_DRIFT

    @property
    def is_down(self) -> bool:
        return self.scheduler.now < self.back

    def go_down(self, size: float) -> None:
        """Do not respond for a while."""
        self.refuses = size * 100 % 1 < 0.5
        self.back = self.scheduler.now + size * _DOWN_SECONDS
        how = "refuses connections" if self.refuses else "does not respond"
        self.scheduler.note(f"the server {how} for {size * _DOWN_SECONDS:.2f} s")

    def apply(self, keys: Sequence[bytes], method: Callable[..., Any], arguments: Any) -> Any:
        """Do what a request asks for, and tell of it."""
        operation = arguments[1] if method.__name__ == "transact" else None
        try:
            result = method(*arguments)
        except Exception as error:
            self._tell(keys, operation, None, error)
            raise
        self._tell(keys, operation, result, None)
        return result

    def _tell(
        self,
        keys: Sequence[bytes],
        operation: Operation | None,
        result: Any,
        error: BaseException | None,
    ) -> None:
        if operation is None:
            return
        if isinstance(operation, Each) and error is None:
            for (positions, step), own in zip(operation.steps, result, strict=True):
                its = [keys[position] for position in positions]
                failed = own if isinstance(own, Exception) else None
                self._tell(its, step, own, failed)
            return
        for watcher in self.watchers:
            watcher(keys, operation, result, error)


class _Reply:
    """What a client waits for."""

    def __init__(self, task: Task) -> None:
        self.waiter: Task | None = task
        self.has_come = False
        self.result: Any = None
        self.error: Exception | None = None

    def come(self) -> None:
        self.has_come = True
        if self.waiter is not None:
            self.waiter.scheduler.wake(self.waiter)


class Network(Wrapper):
    """One process's way to the server, with the time-out of a driver.

    What was sent is applied even if nobody waits for it any more, and however late.
    """

    has_server = True
    combines = True

    def __init__(self, server: Server) -> None:
        super().__init__(server.records)
        self.server = server

    def _call(self, keys: Sequence[bytes], method: Callable[..., R], *arguments: Any) -> R:
        task = current()
        assert task is not None
        operation = arguments[1] if method.__name__ == "transact" else None
        is_write = operation is not None and operation.writes
        task.step()
        call = _described(method, keys, operation)
        kind, size = task.trouble()
        if kind:
            task.scheduler.note(f"{call}: {kind}")
        if kind == "down":
            self.server.go_down(size)
        if kind == "refused" or (self.server.is_down and self.server.refuses):
            task.sleep(LATENCY)
            raise StoreUnavailable("the server refused the connection")
        if kind == "full" and is_write:
            task.sleep(LATENCY)
            raise StoreFull("the server has no room")
        if kind == "cut":
            lost = "response lost" if size < 0.5 else "request lost"
            self._send(task, keys, method, arguments, lost, size).waiter = None
            task.sleep(size * 4 * LATENCY)
            raise StoreUnavailable("the connection was reset", outcome_unknown=is_write)
        reply = self._send(task, keys, method, arguments, kind, size)
        task.wait(self.timeout)
        reply.waiter = None
        if not reply.has_come:
            task.scheduler.note(f"{call} → no response")
            task.step()
            raise StoreUnavailable("the server does not respond", outcome_unknown=is_write)
        task.scheduler.note(f"{call} → {reply.error or reply.result!r}")
        task.step()
        if reply.error is not None:
            raise reply.error
        result: R = reply.result
        return result

    def _send(
        self,
        task: Task,
        keys: Sequence[bytes],
        method: Callable[..., Any],
        arguments: Any,
        kind: str,
        size: float,
    ) -> _Reply:
        reply, scheduler, server = _Reply(task), task.scheduler, self.server
        to = from_ = LATENCY
        if server.is_down or kind == "request lost":
            to = inf
        elif kind == "request slow":
            to += size * _SLOW_SECONDS
        elif kind == "response slow":
            from_ += size * _SLOW_SECONDS
        elif kind == "response lost":
            from_ = inf

        def arrive(is_last: bool = True) -> None:
            if server.is_down:
                return
            error: Exception | None = None
            result: Any = None
            try:
                result = server.apply(keys, method, arguments)
            except Exception as raised:  # noqa: BLE001  # its caller gets it
                error = raised
            if is_last:
                reply.result, reply.error = result, error
                if from_ < inf:
                    scheduler.call(from_, reply.come)

        if to < inf:
            if kind == "duplicated" and is_repeatable(method, arguments):
                scheduler.call(to, partial(arrive, is_last=False))
                to += size * 2 * LATENCY
            scheduler.call(to, arrive)
        return reply


def is_repeatable(method: Callable[..., Any], arguments: Any) -> bool:
    """Whether a driver may send it twice."""
    if method.__name__ != "transact":
        return True
    operation = arguments[1]
    steps = [step for _, step in operation.steps] if isinstance(operation, Each) else [operation]
    return all(not step.writes or isinstance(step, Once) for step in steps)


def _described(
    method: Callable[..., Any], keys: Sequence[bytes], operation: Operation | None
) -> str:
    names = ", ".join(key.decode().replace("\0", "") for key in keys)
    return f"{_text(operation) if operation else method.__name__} of {names}"


def _text(operation: Operation) -> str:
    """The operation without those of its arguments that are mostly the same."""
    name = type(operation).__name__
    if isinstance(operation, Each):
        return f"{name}({', '.join(_text(step) for _, step in operation.steps)})"
    if isinstance(operation, Once):
        return f"{name}({_text(operation.increment)})"
    arguments = [getattr(operation, part, None) for part in ("expected", "value", "delta")]
    return f"{name}({' → '.join(f'{each!r}' for each in arguments if each is not None)})"
