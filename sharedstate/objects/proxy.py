"""What stands where a global object stood: calls its methods as atomic steps."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partialmethod, singledispatchmethod
from typing import Any, NoReturn, TypeVar, cast

from .handle import Handle

T = TypeVar("T")

_HANDLE = "_sharedstate_handle"
_METHODS = (partialmethod, singledispatchmethod)
_COMPARISONS = {"__eq__", "__ne__", "__lt__", "__le__", "__gt__", "__ge__", "__hash__", "__str__"}
# What every class has, or what the making, copying and awaiting of objects asks for. What a class
# has for attributes that are missing is asked by the copy, where they may be there.
_NOT_PASSED_ON = {
    *(*dir(object), "__dict__", "__weakref__", "__del__", "__await__", "__getattr__")
} - _COMPARISONS


class Shared:
    """An object whose state is in the store; :func:`shared` returns its :class:`Handle`.

    A method that is called is one atomic step. An attribute that is read is read anew. One that is
    assigned raises: ``shared_object.count += 1`` would be a read and a write, and others between.
    """

    __slots__ = (_HANDLE,)
    _sharedstate_handle: Handle[Any]

    def __init__(self, handle: Handle[Any]) -> None:
        object.__setattr__(self, _HANDLE, handle)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name.endswith("__"):
            raise AttributeError(name)  # Python looks for many, such as those for copying.
        return getattr(self._sharedstate_handle.read(), name)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(
            f"{name!r} of a shared object cannot be assigned: others may change it between its "
            "reading and its writing. Give the class a method that does it, or call "
            f".change(lambda it: setattr(it, {name!r}, …))"
        )

    def __delattr__(self, name: str) -> NoReturn:
        self.__setattr__(name, None)

    def __dir__(self) -> list[str]:
        return dir(self._sharedstate_handle.kind)

    def __repr__(self) -> str:
        handle = self._sharedstate_handle
        return f"<shared {handle.kind.__name__} {handle.name!r}>"


def proxy(handle: Handle[T]) -> T:
    """What calls the methods of a shared object; for type checkers an object of its class."""
    kind = handle.kind
    members: dict[str, Any] = {"change": handle.change, "locked": handle.locked}
    for name in dir(kind):
        found = inspect.getattr_static(kind, name)
        if name not in _NOT_PASSED_ON and found is not getattr(object, name, None):
            members[name] = _member(kind, name, found)
    # So that isinstance() is true.
    members |= {"__slots__": (), "__class__": property(lambda self: kind)}
    return cast(T, type(f"Shared{kind.__name__}", (Shared,), members)(handle))


def shared(thing: T) -> Handle[T]:
    """Return the handle of a shared object, which can read, change, lock and reset it.

    :param thing: what ``cache.object`` has returned.
    :returns: its handle, which shares the object's state.
    :raises TypeError: if it is an object that is not shared.
    """
    if not issubclass(type(thing), Shared):
        raise TypeError(f"{type(thing).__name__} is no shared object: cache.object() makes one")
    handle: Handle[T] = object.__getattribute__(thing, _HANDLE)
    return handle


def _member(kind: type, name: str, found: object) -> Any:
    """What the class of a shared object has for a member of the object's own class."""
    if isinstance(found, (classmethod, staticmethod, type)):
        return staticmethod(getattr(kind, name))
    if callable(found) or isinstance(found, _METHODS):
        return _step(name)
    return property(lambda self: getattr(self._sharedstate_handle.read(), name))


def _step(name: str) -> Callable[..., Any]:
    def method(self: Shared, *args: Any, **kwargs: Any) -> Any:
        copy: Any = None

        def call(it: Any) -> Any:
            nonlocal copy
            copy = it
            return getattr(it, name)(*args, **kwargs)

        result = self._sharedstate_handle.change(call)
        return self if result is copy else result

    method.__name__ = name
    return method
