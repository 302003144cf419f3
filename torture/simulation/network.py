"""A store behind a network: requests and responses are late or lost, and the server is down."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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


class _Request:
    """A call on its way to the server, and the reply on its way back."""

    def __init__(
        self, server: Server, keys: Sequence[bytes], method: Callable[..., Any], arguments: Any
    ) -> None:
        self.operation: Operation | None = None
        if method.__name__ == "transact":
            self.operation = arguments[1]
        self.is_write = self.operation is not None and self.operation.writes
        self.has_come = False
        self.result: Any = None
        self.error: Exception | None = None
        self._server = server
        self._call = keys, method, arguments
        self._back = LATENCY
        self._waiter: Task | None = None

    def send(self, kind: str, size: float) -> None:
        """Let it arrive some time, or never."""
        to, self._back = _delays(kind, size)
        if self._server.is_down or to == inf:
            return
        if kind == "duplicated" and is_repeatable(self.operation):
            self._server.scheduler.call(to, self._apply)
            to += size * 2 * LATENCY
        self._server.scheduler.call(to, self._arrive)

    def wait(self, task: Task, seconds: float) -> None:
        """Wait for the reply, unless it has come."""
        if not self.has_come:
            self._waiter = task
            task.wait(seconds)
            self._waiter = None

    def note(self, text: str = "") -> None:
        """Add what became of it to the trace."""
        scheduler = self._server.scheduler
        if scheduler.trace is not None:
            keys, method, _ = self._call
            names = ", ".join(key.decode().replace("\0", "") for key in keys)
            name = _text(self.operation) if self.operation else method.__name__
            scheduler.note(f"{name} of {names}{text or f' → {self.error or self.result!r}'}")

    def _apply(self) -> None:
        if self._server.is_down:
            return
        self.error = None
        try:
            self.result = self._server.apply(*self._call)
        except Exception as error:  # noqa: BLE001  # its caller gets it
            self.error = error

    def _arrive(self) -> None:
        is_down = self._server.is_down
        self._apply()
        if not is_down and self._back < inf:
            self._server.scheduler.call(self._back, self._come)

    def _come(self) -> None:
        self.has_come = True
        if self._waiter is not None:
            self._waiter.scheduler.wake(self._waiter)


def _delays(kind: str, size: float) -> tuple[float, float]:
    """How long a request and its response are on their way."""
    slow = LATENCY + size * _SLOW_SECONDS
    to = {"request lost": inf, "request slow": slow}.get(kind, LATENCY)
    return to, {"response lost": inf, "response slow": slow}.get(kind, LATENCY)


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
        request, seconds = _Request(self.server, keys, method, arguments), self.timeout
        task.step()
        kind, size = task.trouble()
        if kind:
            request.note(f": {kind}")
        if kind == "down":
            self.server.go_down(size)
        self._refuse(task, request, kind, size)
        request.send(kind, size)
        request.wait(task, seconds)
        request.note("" if request.has_come else " → no response")
        task.step()
        if not request.has_come:
            raise _unavailable("the server does not respond", request)
        if request.error is not None:
            raise request.error
        result: R = request.result
        return result

    def _refuse(self, task: Task, request: _Request, kind: str, size: float) -> None:
        """Raise the error of a request that fails at once."""
        if kind == "refused" or (self.server.is_down and self.server.refuses):
            task.sleep(LATENCY)
            raise StoreUnavailable("the server refused the connection")
        if kind == "full" and request.is_write:
            task.sleep(LATENCY)
            raise StoreFull("the server has no room")
        if kind == "cut":
            request.send("response lost" if size < 0.5 else "request lost", size)
            task.sleep(size * 4 * LATENCY)
            raise _unavailable("the connection was reset", request)


def _unavailable(reason: str, request: _Request) -> StoreUnavailable:
    return StoreUnavailable(reason, outcome_unknown=request.is_write)


def is_repeatable(operation: Operation | None) -> bool:
    """Whether a driver may send it twice."""
    if operation is None:
        return True
    steps = [step for _, step in operation.steps] if isinstance(operation, Each) else [operation]
    return all(not step.writes or isinstance(step, Once) for step in steps)


def _text(operation: Operation) -> str:
    """The operation without those of its arguments that are mostly the same."""
    name = type(operation).__name__
    if isinstance(operation, Each):
        return f"{name}({', '.join(_text(step) for _, step in operation.steps)})"
    if isinstance(operation, Once):
        return f"{name}({_text(operation.increment)})"
    arguments = [getattr(operation, part, None) for part in ("expected", "value", "delta")]
    return f"{name}({' → '.join(f'{each!r}' for each in arguments if each is not None)})"
