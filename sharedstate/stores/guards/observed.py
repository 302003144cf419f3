"""Calls an observer after each operation on a store: for metrics, tracing and the like."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from ..base import Done, Store
from ..operations import Operation
from .guard import Wrapper

R = TypeVar("R")

Observer = Callable[[str, BaseException | None, Any], None]
"""Is called with the operation's name, the error that it raised or ``None``, and its result.

The name is that of the class in :mod:`.operations`, such as ``Increment`` or ``Swap``, or that of
the store's method, such as ``values`` or ``ping``.
"""


class Observed(Wrapper):
    """A store that calls an observer after each operation, whether it returned or raised.

    ::

        state.store = Observed(state.store, observer)  # before state.namespace() and state.lock()

    The observer runs in the thread of the operation, which waits for it; what it raises is raised
    to the caller.
    """

    def __init__(self, store: Store, observer: Observer) -> None:
        super().__init__(store)
        self._observer = observer

    def transact(self, keys: Sequence[bytes], operation: Operation) -> Any:
        # As _call() does, with another name and for the half of what that costs.
        name = type(operation).__name__
        try:
            result = self._store.transact(keys, operation)
        except BaseException as error:
            self._observer(name, error, None)
            raise
        self._observer(name, None, result)
        return result

    def submit(self, keys: Sequence[bytes], operation: Operation, done: Done) -> None:
        name = type(operation).__name__ if operation.writes else "read"
        observer = self._observer

        def told(result: Any, error: BaseException | None) -> None:
            try:
                observer(name, error, result)
            finally:
                done(result, error)

        self._store.submit(keys, operation, told)

    def _call(self, keys: Sequence[bytes], method: Callable[..., R], *arguments: Any) -> R:
        try:
            result = method(*arguments)
        except BaseException as error:
            self._observer(method.__name__, error, None)
            raise
        self._observer(method.__name__, None, result)
        return result
