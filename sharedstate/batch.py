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
    ResultTooLarge,
    SharedStateError,
    StoreFull,
)
from .keyspace import Item, Namespace
from .stores.operations import Budget, Get, Operation, Put, Record, Remove

_REFUSALS = (NotACounter, NotSerializable, NotSupported, OutOfBounds, ResultTooLarge, StoreFull)


class Batch:
    """Operations on the keys of a state, collected to be done in one step.

    ::

        batch = cache.batch()
        batch.inc("stock", -1, minimum=0)
        batch.set("order-17", {"items": 1})
        left, _ = batch.apply()

    What is collected is checked at once: a key or value that is not allowed raises here, before
    anything is done.

    :param max_bytes: how long the values that it reads may be together, as they are stored.
    """

    def __init__(self, state: Namespace, max_bytes: int | None = None) -> None:
        self._state = state
        self._max_bytes = max_bytes
        self._steps: list[tuple[str, Operation]] = []
        self._answers: list[Callable[[bytes, Any], Any]] = []
        self._items: dict[bytes, tuple[Record | None, Item | None]] = {}

    def item(self, key: str) -> None:
        """Read the item; its answer is as that of :meth:`State.item`."""
        self._collect(key, Get(), self._decoded)

    def set(self, key: str, value: Any, timeout: Timeout = None) -> None:
        """Store the value, as :meth:`State.set` does; answers ``True``."""
        put = Put(self._state._encode(value, key), self._state._timeout(timeout))
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

        An item that cannot be read answers :exc:`NotSerializable`, as all is done by then.

        :raises NotSupported: if the store has no transactions.
        :raises ResultTooLarge: if what it reads is longer than ``max_bytes``.
        :raises SharedStateError: what one of them raises; its ``step`` says which, from 0.
        """
        self._state._require("atomic_batch", "changes of several keys in one step")
        return self._answered(self._together())

    def apply_each(self) -> list[Any]:
        """Do each of them by itself; answers what each answers, or the error that it raises.

        From the one on with which they are longer than ``max_bytes``, no item is read any more.
        """
        if "atomic_batch" in self._state.store.can:
            try:
                return self._answered(self._together())
            except _REFUSALS:
                pass  # Nothing was done. Those that can be will be.
        budget = Budget(self._max_bytes)
        return self._answered([self._try(*step, budget) for step in self._steps])

    def _together(self) -> list[Any]:
        self._check_sizes()
        return self._state._apply_all(self._steps, self._max_bytes)

    def _check_sizes(self) -> None:
        """Refuse to read too much before any of it is read; the store decides it for certain."""
        state = self._state
        read = [key for key, operation in self._steps if type(operation) is Get]
        if self._max_bytes is None or len(read) * state.max_value_bytes <= self._max_bytes:
            return
        keys = list(dict.fromkeys(read))
        sizes = dict(zip(keys, state.store.sizes([*map(state._key, keys)]), strict=True))
        budget = Budget(self._max_bytes)
        for step, (key, operation) in enumerate(self._steps):
            if type(operation) is not Get:
                sizes[key] = len(operation.value) if isinstance(operation, Put) else 0
            else:
                budget.spend(sizes[key], step)

    def _try(self, key: str, operation: Operation, budget: Budget) -> Any:
        state = self._state
        try:
            if type(operation) is not Get:
                return state._apply(key, operation)
            budget.spend(0)
            (record,) = state.store.read((state._key(key),))
            budget.spend(0 if record is None else len(record[0]))
            return record
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

    def _decoded(self, key: bytes, record: Record | None) -> Item | None:
        """The item of a record; the same for a key that is read several times in between."""
        known = self._items.get(key)
        if known is None or known[0] != record:
            known = self._items[key] = record, self._state._item(key, record)
        return known[1]

    def _read(self, answer: Callable[[bytes, Any], Any], key: str, given: Any) -> Any:
        """What an operation answers, or why that cannot be read: all is done by now."""
        try:
            return answer(self._state._key(key), given)
        except NotSerializable as error:
            return error


def _as_it_is(key: bytes, answer: Any) -> Any:
    return answer
