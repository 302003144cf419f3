"""An object that all processes share: each call of a method is one atomic step.

A step reads the record, runs the method on a private copy, and swaps the outcome in, unless another
one came between: then it begins again, with another copy::

    step          read {state: 4} ── query() on a copy ── swap in {state: 5}
    locked()      lock ── mark {state: 5, locked: 7} ── the block, on a copy ── {state: 6} ── free
    step, beside it             reads the mark ── waits for the lock ── reads {state: 6} ── …
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Generic, TypeVar

from ..errors import LockLost, SharedStateError
from ..keyspace.arguments import ABSENT
from ..locks.lock import Lock
from ..state import State
from .attributes import refuse_state_elsewhere, state_of, with_state

T = TypeVar("T")
R = TypeVar("R")

STATE, LOCKED = "state", "locked"
_LATER = (
    (inspect.isgenerator, "a generator"),
    (inspect.iscoroutine, "a coroutine"),
    (inspect.isasyncgen, "an asynchronous generator"),
)


class _Missing(Exception):
    """There is no record yet."""


class _Locked(Exception):
    """Somebody has the object for a block."""


class Handle(Generic[T]):
    """What can be done with a shared object besides calling its methods; see :func:`shared`.

    :param state: returns the state whose store has the record; asked at each use.
    :param make: makes the object where there is none yet.
    :param upgrade: is given each object that is read.
    """

    def __init__(
        self,
        state: Callable[[], State],
        name: str,
        kind: type[T],
        make: Callable[[], T],
        upgrade: Callable[[T], object] | None = None,
    ) -> None:
        self.name = name
        self.kind = kind
        self._state = state
        self._make = make
        self._upgrade = upgrade

    def read(self) -> T:
        """Return a private copy of the object, as it is now."""
        record = self._records().get(self.name, ABSENT)
        return self._copy(self._first() if record is ABSENT else record)

    def change(self, function: Callable[[T], R]) -> R:
        """Do one atomic step with the object, among all that share the store.

        :param function: is given a private copy, and changes it. It may run more than once, when
            others write at the same time, and only the last run counts. If it raises, nothing
            changes.
        :returns: what ``function`` returned; the copy itself, where it returned that.
        :raises TypeError: if it returned a generator or a coroutine: that would run after the step.
        :raises Deadlock: if ``function`` changes the same object each time.
        :raises LockTimeout: if others had it :meth:`locked` for 10 seconds.
        """
        is_locked = False
        while True:
            try:
                return self._step_with_lock(function) if is_locked else self._step(function)
            except _Missing:
                self._first()
            except _Locked:
                is_locked = True

    @contextmanager
    def locked(self, lease: float = 30, wait: float = 10) -> Iterator[T]:
        """Have the object for a block: for a step with side effects, or one too slow to repeat.

        Nobody changes it meanwhile; what is read is as it was before. If the block raises, nothing
        changes.

        :param lease: seconds the block may take.
        :param wait: seconds to wait for others.
        :returns: a context manager with a private copy, which is stored at the end.
        :raises LockTimeout: if others had it for ``wait`` seconds.
        :raises LockLost: if it took longer than ``lease`` and somebody has changed or locked the
            object since; nothing is stored then.
        """
        lock = self._lock(lease, wait).acquire()
        try:
            thing = self._mark(lock)
            try:
                yield thing
                after: Any = state_of(thing)
            except BaseException as error:
                self._unmark_after(error, lock.fence)
                raise
            self._unmark(lock.fence, lambda state: after)
        finally:
            with suppress(SharedStateError):  # It ends by itself.
                lock.discard()

    def reset(self) -> None:
        """Forget the state: the next use makes the object anew."""
        self._records().delete(self.name)

    def _step(self, function: Callable[[T], R], ignore_mark: bool = False) -> R:
        result: R

        def change(record: Any) -> Any:
            nonlocal result
            if record is ABSENT:
                raise _Missing
            if LOCKED in record and not ignore_mark:
                raise _Locked
            thing = self._copy(record)
            result = function(thing)
            _refuse_later(result)
            return {STATE: state_of(thing)}

        self._records().update(self.name, change, default=ABSENT)
        return result

    def _step_with_lock(self, function: Callable[[T], R]) -> R:
        lock = self._lock(30, 10).acquire()
        try:
            # A mark that is still there was left by one that has lost the lock.
            return self._step(function, ignore_mark=True)
        finally:
            with suppress(SharedStateError):  # It ends by itself, and the step is done or not.
                lock.discard()

    def _first(self) -> Any:
        """The record; made where there is none, by one of many callers."""

        def make() -> Any:
            thing = self._make()
            refuse_state_elsewhere(thing)
            return {STATE: state_of(thing)}

        return self._records().get_or_set(self.name, make, timeout=0)

    def _mark(self, lock: Lock) -> T:
        while True:
            try:
                record = self._records().update(self.name, self._marked(lock), default=ABSENT)
                return self._copy(record)
            except _Missing:
                self._first()

    def _marked(self, lock: Lock) -> Callable[[Any], Any]:
        def change(record: Any) -> Any:
            if record is ABSENT:
                raise _Missing
            if LOCKED in record and not lock.is_held:  # It may be of who has the lock now.
                raise self._lost()
            return {STATE: record[STATE], LOCKED: lock.fence}

        return change

    def _unmark(self, fence: int, change: Callable[[Any], Any]) -> None:
        def unmarked(record: Any) -> Any:
            if record is ABSENT or record.get(LOCKED) != fence:
                raise self._lost()
            return {STATE: change(record[STATE])}

        self._records().update(self.name, unmarked, default=ABSENT)

    def _unmark_after(self, error: BaseException, fence: int) -> None:
        try:
            self._unmark(fence, lambda state: state)
        except SharedStateError as failed:
            error.add_note(f"the object {self.name!r} could not be given back: {failed}")

    def _lost(self) -> LockLost:
        return LockLost(
            f"the object {self.name!r} was locked for longer than its lease, and somebody else has "
            "had it since: nothing was stored"
        )

    def _copy(self, record: Any) -> T:
        return with_state(self.kind, record[STATE], self._upgrade)

    def _records(self) -> State:
        return self._state().namespace("object")

    def _lock(self, lease: float, wait: float) -> Lock:
        return self._records().lock(self.name, lease=lease, wait=wait)


def _refuse_later(result: object) -> None:
    for is_one, what in _LATER:
        if is_one(result):
            if hasattr(result, "close"):
                result.close()
            raise TypeError(
                f"the method returned {what}, which would run after its step, on a copy that "
                "nobody sees: return a list, or use locked()"
            )
