"""An object's state as plain data, and an object that has it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from ..errors import NotSerializable

T = TypeVar("T")

# Those of which it does not show in how they are pickled.
_WITH_STATE_ELSEWHERE = (BaseException, bytearray, dict, frozenset, set)


def state_of(thing: object) -> Any:
    """The state of an object: what its ``__getstate__`` returns, or its attributes by name.

    The attributes in slots are among them. The path of the class is not.
    """
    state: Any = thing.__getstate__()
    if type(thing).__getstate__ is not object.__getstate__:
        return state
    if isinstance(state, tuple):  # Where there are slots: the dictionary, and what they hold.
        attributes, slots = state
        return {**(attributes or {}), **slots}
    return dict(state or {})


def with_state(kind: type[T], state: Any, upgrade: Callable[[T], object] | None = None) -> T:
    """A new object of a class with this state; its ``__init__`` is not called.

    :param upgrade: is given the object, to add what its class has had only since.
    """
    thing = kind.__new__(kind)
    # Asked of the class: its __getattr__ may need attributes that are not there yet.
    set_state = getattr(kind, "__setstate__", None)
    if set_state is not None:
        set_state(thing, state)
    else:
        for name, value in state.items():
            object.__setattr__(thing, name, value)  # A frozen class has another one.
    if upgrade is not None:
        upgrade(thing)
    return thing


def refuse_state_elsewhere(thing: object) -> None:
    """Raise :exc:`NotSerializable` for an object that has state besides its attributes."""
    reduced: Any = thing.__reduce_ex__(2)
    _, arguments, _, *items = (*reduced, None, None, None)[:5]
    is_elsewhere = len(arguments) > 1 or any(found is not None for found in items)
    if is_elsewhere or isinstance(thing, _WITH_STATE_ELSEWHERE):
        raise NotSerializable(
            f"{type(thing).__name__} holds its state elsewhere than in attributes, as subclasses "
            "of list, dict or int do: keep that in an attribute"
        )
