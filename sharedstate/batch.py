"""Operations that are done together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .arguments import Timeout
from .errors import (
    NotACounter,
    NotSerializable,
    NotSupported,
    OutOfBounds,
    SharedStateError,
    StoreFull,
)
from .namespace import Namespace
from .stores.operations import Get, Operation, Put, Remove


class Batch:
    """Operations on the keys of a state, collected to be done in one step.

    ::

        batch = cache.batch()
        batch.inc("stock", -1, minimum=0)
        batch.set("order-17", {"items": 1})
        left, _ = batch.apply()

    What is collected is checked at once: a key or value that is not allowed raises here, before
    anything is done.
    """

    def __init__(self, state: Namespace) -> None:
        self._state = state
        self._steps: list[tuple[str, Operation]] = []
        self._answers: list[Callable[[bytes, Any], Any]] = []

    def item(self, key: str) -> None:
        """Read the item; its answer is as that of :meth:`State.item`."""
        self._collect(key, Get(), self._state._item)

    def set(self, key: str, value: Any, timeout: Timeout = None) -> None:
        """Store the value, as :meth:`State.set` does; answers ``True``."""
        put = Put(self._state._encode(value), self._state._timeout(timeout))
        self._collect(key, put, lambda key, answer: True)

    def delete(self, key: str) -> None:
        """Remove the key; answers whether it was there."""
        self._collect(key, Remove())

    def inc(
        self,
        key: str,
        delta: int = 1,
        *,
        initial: int = 0,
        timeout: Timeout = None,
        minimum: int | None = None,
        maximum: int | None = None,
    ) -> None:
        """Add to a counter, as :meth:`State.inc` does; answers the new number."""
        increment = self._state._increment(delta, initial, timeout, minimum, maximum)
        self._collect(key, increment)

    def apply(self) -> list[Any]:
        """Do all of them in their order, in one step, or none; answers what each answers.

        :raises NotSupported: if the store has no transactions.
        An item that cannot be read answers :exc:`NotSerializable`, as all is done by then.

        :raises SharedStateError: what one of them raises; its ``step`` says which, from 0.
        """
        self._state._require("atomic_batch", "changes of several keys in one step")
        return self._answered(self._state._apply_all(self._steps))

    def apply_each(self) -> list[Any]:
        """Do each of them by itself; answers what each answers, or the error that it raises."""
        if "atomic_batch" in self._state.store.can:
            try:
                return self._answered(self._state._apply_all(self._steps))
            except (NotACounter, OutOfBounds, StoreFull, NotSupported, NotSerializable):
                pass  # Nothing was done. Those that can be will be.
        return self._answered([self._try(*step) for step in self._steps])

    def _try(self, key: str, operation: Operation) -> Any:
        state = self._state
        try:
            if isinstance(operation, Get):
                return state.store.read((state._key(key),))[0]
            return state._apply(key, operation)
        except SharedStateError as error:
            return error

    def _collect(
        self, key: str, operation: Operation, answer: Callable[[bytes, Any], Any] | None = None
    ) -> None:
        self._state._key(key)
        self._steps.append((key, operation))
        self._answers.append(answer or _as_it_is)

    def _answered(self, answers: list[Any]) -> list[Any]:
        return [
            given if isinstance(given, SharedStateError) else self._read(answer, key, given)
            for (key, _), answer, given in zip(self._steps, self._answers, answers, strict=True)
        ]

    def _read(self, answer: Callable[[bytes, Any], Any], key: str, given: Any) -> Any:
        """What an operation answers, or why that cannot be read: all is done by now."""
        try:
            return answer(self._state._key(key), given)
        except NotSerializable as error:
            return error


def _as_it_is(key: bytes, answer: Any) -> Any:
    return answer
