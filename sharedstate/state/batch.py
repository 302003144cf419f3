"""Operations that are done together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..errors import (
    NotACounter,
    NotSerializable,
    NotSupported,
    OutOfBounds,
    ResultTooLarge,
    SharedStateError,
    StoreFull,
)
from ..keyspace import Item, Keyspace
from ..keyspace.arguments import Timeout
from ..stores.operations import Budget, Get, Operation, Put, Record, Remove

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

    :param max_bytes: how long the values that it reads may be together, as they are stored;
        ``None`` for no bound.
    """

    def __init__(self, keyspace: Keyspace, max_bytes: int | None = None) -> None:
        self._keyspace = keyspace
        self._max_bytes = max_bytes
        self._steps: list[tuple[str, Operation]] = []
        self._results: list[Callable[[bytes, Any], Any]] = []
        self._items: dict[bytes, tuple[Record | None, Item | None]] = {}

    def item(self, key: str) -> None:
        """Read the item of a key; its result is that of :meth:`State.item`.

        :raises InvalidKey: if it is none.
        """
        self._collect(key, Get(), self._decoded)

    def set(self, key: str, value: Any, timeout: Timeout = None) -> None:
        """Store a value as :meth:`State.set` does; its result is ``True``.

        :param value: encoded at once; what becomes of the object later is not stored.
        :param timeout: as for :meth:`State.set`.
        :raises NotSerializable: if the codec cannot store the value.
        :raises ValueTooLarge: if its bytes are more than ``max_value_bytes``.
        """
        put = Put(self._keyspace.encode(value, key), self._keyspace.seconds(timeout))
        self._collect(key, put, lambda key, result: True)

    def delete(self, key: str) -> None:
        """Remove a key; its result is whether it was there.

        :raises InvalidKey: if it is none.
        """
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
        """Add to a counter as :meth:`State.inc` does; its result is the new number.

        The parameters are those of :meth:`State.inc`.

        :raises TypeError: if one of the numbers is not an ``int``.
        :raises ValueError: if one of them has more than 64 bits.
        """
        self._collect(key, self._keyspace.increment(delta, initial, timeout, minimum, maximum))

    def apply(self) -> list[Any]:
        """Do all of them in their order, in one step among all that share the store, or none.

        :returns: the result of each. That of an item which cannot be read is
            :exc:`NotSerializable`, as all is done by then.
        :raises NotSupported: if the store has no transactions.
        :raises ResultTooLarge: if what it reads is longer than ``max_bytes``.
        :raises SharedStateError: what one of them raises; its ``step`` says which, from 0.
        """
        self._keyspace.require("atomic_batch", "changes of several keys in one step")
        return self._read_results(self._together())

    def apply_each(self) -> list[Any]:
        """Do each of them by itself, in their order.

        :returns: the result of each, or the error that it raised. From the one on with which they
            are longer than ``max_bytes``, no item is read any more.
        """
        if "atomic_batch" in self._keyspace.store.can:
            try:
                return self._read_results(self._together())
            except _REFUSALS:
                pass  # Nothing was done. Those that can be will be.
        budget = Budget(self._max_bytes)
        return self._read_results([self._try(*step, budget) for step in self._steps])

    def _together(self) -> list[Any]:
        self._check_sizes()
        return self._keyspace.apply_all(self._steps, self._max_bytes)

    def _check_sizes(self) -> None:
        """Refuse to read too much before any of it is read; the store decides it for certain."""
        space = self._keyspace
        read = [key for key, operation in self._steps if type(operation) is Get]
        if self._max_bytes is None or len(read) * space.max_value_bytes <= self._max_bytes:
            return
        keys = list(dict.fromkeys(read))
        sizes = dict(zip(keys, space.store.sizes([*map(space.key, keys)]), strict=True))
        budget = Budget(self._max_bytes)
        for step, (key, operation) in enumerate(self._steps):
            if type(operation) is not Get:
                sizes[key] = len(operation.value) if isinstance(operation, Put) else 0
            else:
                budget.spend(sizes[key], step)

    def _try(self, key: str, operation: Operation, budget: Budget) -> Any:
        space = self._keyspace
        try:
            if type(operation) is not Get:
                return space.apply(key, operation)
            budget.spend(0)
            (record,) = space.store.read((space.key(key),))
            budget.spend(0 if record is None else len(record[0]))
            return record
        except SharedStateError as error:
            return error

    def _collect(
        self, key: str, operation: Operation, result: Callable[[bytes, Any], Any] | None = None
    ) -> None:
        self._keyspace.key(key)
        self._steps.append((key, operation))
        self._results.append(result or _as_it_is)

    def _read_results(self, raws: list[Any]) -> list[Any]:
        return [
            given if isinstance(given, SharedStateError) else self._read(result, key, given)
            for (key, _), result, given in zip(self._steps, self._results, raws, strict=True)
        ]

    def _decoded(self, key: bytes, record: Record | None) -> Item | None:
        """The item of a record; the same for a key that is read several times in between."""
        known = self._items.get(key)
        if known is None or known[0] != record:
            known = self._items[key] = record, self._keyspace.item(key, record)
        return known[1]

    def _read(self, result: Callable[[bytes, Any], Any], key: str, given: Any) -> Any:
        """The result of an operation, or why it cannot be read: all is done by now."""
        try:
            return result(self._keyspace.key(key), given)
        except NotSerializable as error:
            return error


def _as_it_is(key: bytes, result: Any) -> Any:
    return result
