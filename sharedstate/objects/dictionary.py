"""A dictionary of which each item is a record of its own."""

from __future__ import annotations

from collections.abc import Callable, ItemsView, Iterator, MutableMapping, ValuesView
from typing import Any, TypeVar
from urllib.parse import quote

from ..keyspace import Item
from ..keyspace.arguments import ABSENT, Timeout
from ..state import State

R = TypeVar("R")

_PAGE_ITEMS = 100
_TAKEN = object()


class SharedDict(MutableMapping[str, Any]):
    """A dictionary that all processes share; its items expire by themselves.

    Each operation is one step on the store, atomic for its item. To go through the items is not one
    moment: an item that comes or goes meanwhile may be among them.

    :param state: returns the state that holds it; asked at each use.
    :param name: keeps its items apart from those of all other dictionaries.
    :param timeout: seconds from when an item is set until it is gone; 0: never; ``None``: the
        default.
    """

    def __init__(self, state: Callable[[], State], name: str, timeout: Timeout = None) -> None:
        self.name = name
        self.timeout = timeout
        self._state = state
        # Quoted, as some characters have a meaning in the name of a namespace.
        self._namespace = quote(name, safe=" ", encoding="utf-8")

    def __getitem__(self, key: str) -> Any:
        value = self._items().get(key, ABSENT)
        if value is ABSENT:
            raise KeyError(key)
        return value

    def __setitem__(self, key: str, value: Any) -> None:
        self._items().set(key, value, self.timeout)

    def __delitem__(self, key: str) -> None:
        if not self._items().delete(key):
            raise KeyError(key)

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and self._items().has(key)

    def __iter__(self) -> Iterator[str]:
        return iter(self._items().keys())

    def __len__(self) -> int:
        return len(self._items().keys())

    def items(self) -> ItemsView[str, Any]:
        """Return a view of the keys with their values, which reads them page by page."""
        return _Items(self)

    def values(self) -> ValuesView[Any]:
        """Return a view of the values, which reads them page by page."""
        return _Values(self)

    def setdefault(self, key: str, default: Any = None) -> Any:
        """Store a value if there is none, in one step.

        :param default: the value to store.
        :returns: the value that is there then.
        """
        while True:
            value = self._items().get(key, ABSENT)
            if value is not ABSENT:
                return value
            if self._items().add(key, default, self.timeout):
                return default

    def pop(self, key: str, default: Any = ABSENT) -> Any:
        """Remove an item and return its value, in one step: of many callers one gets it.

        :param default: returned if the item is not there.
        :returns: the value that was there.
        :raises KeyError: if it is not there and no ``default`` is given.
        """
        found: Any = ABSENT

        def remove(item: Item | None) -> Any:
            nonlocal found
            found = ABSENT if item is None else item.value
            return ABSENT

        self._items().revise(key, remove)
        if found is not ABSENT:
            return found
        if default is ABSENT:
            raise KeyError(key)
        return default

    def popitem(self) -> tuple[str, Any]:
        """Remove some item and return its key and value, in one step: of many callers one gets it.

        :raises KeyError: if there is none.
        """
        is_empty = False
        while not is_empty:
            is_empty = True
            for item in self.pages():
                is_empty = False
                value = self.pop(item.key, _TAKEN)
                if value is not _TAKEN:
                    return item.key, value
        raise KeyError("the shared dictionary is empty")

    def inc(self, key: str, delta: int = 1, *, initial: int = 0) -> int:
        """Add to the number of an item; one that is not there is created with the timeout.

        :param delta: what is added; may be negative.
        :param initial: what a missing number starts from.
        :returns: the new number; no two callers get the same.
        :raises NotACounter: if the item holds something else; it stays.
        """
        return self._items().inc(key, delta, initial=initial, timeout=self.timeout)

    def change(self, key: str, function: Callable[[Any], R], default: Any = None) -> R:
        """Replace a value by ``function(value)``, in one step, and renew its timeout.

        :param function: may run more than once, when others write at the same time.
        :param default: ``function`` is given it if there is no value.
        :returns: the new value.
        """
        return self._items().revise(
            key,
            lambda item: function(default if item is None else item.value),
            timeout=self.timeout,
        )

    def touch(self, key: str) -> bool:
        """Renew the timeout of an item.

        :returns: whether it is there.
        """
        return self._items().touch(key, self.timeout)

    def clear(self) -> None:
        """Remove all items."""
        self._items().clear()

    def pages(self) -> Iterator[Item]:
        """Go through the items with their remaining time, read page by page.

        :returns: an iterator over each :class:`Item`.
        :raises NotSerializable: if the value of one cannot be read.
        :raises NotSupported: if the store cannot list its keys.
        """
        cursor: str | None = None
        while True:
            items, cursor = self._items().items(cursor=cursor, limit=_PAGE_ITEMS)
            for item in items:
                if item.error is not None:
                    raise item.error
                yield item
            if cursor is None:
                return

    def __repr__(self) -> str:
        return f"<shared dict {self.name!r}>"

    def _items(self) -> State:
        return self._state().namespace("dict").namespace(self._namespace)


class _Items(ItemsView[str, Any]):
    _mapping: SharedDict

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        return ((item.key, item.value) for item in self._mapping.pages())


class _Values(ValuesView[Any]):
    _mapping: SharedDict

    def __iter__(self) -> Iterator[Any]:
        return (item.value for item in self._mapping.pages())
