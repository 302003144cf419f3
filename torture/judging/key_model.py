"""What one key of the store does when it is asked one thing at a time.

The reference that `linearizable` holds histories against. It has no time in it: nothing expires,
and `once` tokens are not modelled.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Hashable
from typing import Any, Final, NamedTuple

SMALLEST = -(2**63)
LARGEST = 2**63 - 1


class _Missing(enum.Enum):
    MISSING = "missing"


MISSING: Final = _Missing.MISSING
"""The state of a key that is not there; what `get` returns then; ABSENT of `compare_and_set`."""


class Raised(NamedTuple):
    """The result of an operation that raised: the name of the error's class."""

    error: str


class Inc(NamedTuple):
    """The argument of `inc`."""

    delta: int = 1
    initial: int = 0
    minimum: int | None = None
    maximum: int | None = None


class Update(NamedTuple):
    """The argument of `update`. `change` is pure."""

    change: Callable[[Any], Any]
    default: Any = None


class CompareAndSet(NamedTuple):
    """The argument of `compare_and_set`. `MISSING` expects that the key is not there."""

    expected: Any
    value: Any


class Saturated(NamedTuple):
    """The argument of `inc_saturated`."""

    delta: int
    maximum: int


class Append(NamedTuple):
    """The argument of `append`. The list is a tuple, as states are hashable."""

    value: Any
    limit: int | None = None


def one_key(state: Any, operation: str, argument: Any) -> tuple[Any, Hashable]:
    """The result of an operation on a key, and the key's state after it.

    ===================  ===============  =================================================
    operation            argument         result
    ===================  ===============  =================================================
    ``get``              None             the value, `MISSING` if there is none
    ``set``              the value        True
    ``add``              the value        whether it was added
    ``delete``           None             whether it was there
    ``inc``              `Inc`            the new number, or `Raised`; the value stays then
    ``update``           `Update`         the new value
    ``compare_and_set``  `CompareAndSet`  whether it was set
    ``has``              None             whether it is there
    ``put``              the value        whether the key is new
    ``exchange``         the value        the value before, `MISSING` if there was none
    ``get_or_set``       the value made   the value
    ``inc_saturated``    `Saturated`      the new number and what was added, or `Raised`
    ``append``           `Append`         how long the tuple is now, or `Raised`
    ``remove``           None             None; it is not said whether it was there
    ===================  ===============  =================================================

    Values are hashable and compared with ``==``: a history that has both 1 and True, or 1 and
    1.0, is judged as if they were the same.
    """
    return _OPERATIONS[operation](state, argument)


def _get(state: Any, _: None) -> tuple[Any, Hashable]:
    return state, state


def _set(_: Any, value: Hashable) -> tuple[bool, Hashable]:
    return True, value


def _add(state: Any, value: Hashable) -> tuple[bool, Hashable]:
    return (True, value) if state is MISSING else (False, state)


def _delete(state: Any, _: None) -> tuple[bool, Hashable]:
    return state is not MISSING, MISSING


def _inc(state: Any, inc: Inc) -> tuple[int | Raised, Hashable]:
    number = inc.initial if state is MISSING else state
    if type(number) is not int:
        return Raised("NotACounter"), state
    number += inc.delta
    lowest = SMALLEST if inc.minimum is None else max(SMALLEST, inc.minimum)
    highest = LARGEST if inc.maximum is None else min(LARGEST, inc.maximum)
    if not lowest <= number <= highest:
        return Raised("OutOfBounds"), state
    return number, number


def _update(state: Any, update: Update) -> tuple[Any, Hashable]:
    value = update.change(update.default if state is MISSING else state)
    return value, value


def _compare_and_set(state: Any, swap: CompareAndSet) -> tuple[bool, Hashable]:
    return (True, swap.value) if state == swap.expected else (False, state)


def _has(state: Any, _: None) -> tuple[bool, Hashable]:
    return state is not MISSING, state


def _put(state: Any, value: Hashable) -> tuple[bool, Hashable]:
    return state is MISSING, value


def _exchange(state: Any, value: Hashable) -> tuple[Any, Hashable]:
    return state, value


def _get_or_set(state: Any, value: Hashable) -> tuple[Any, Hashable]:
    return (value, value) if state is MISSING else (state, state)


def _inc_saturated(state: Any, inc: Saturated) -> tuple[Any, Hashable]:
    number = 0 if state is MISSING else state
    if type(number) is not int:
        return Raised("NotACounter"), state
    after = max(number, min(number + inc.delta, inc.maximum))
    return (after, after - number), after


def _append(state: Any, append: Append) -> tuple[int | Raised, Hashable]:
    if state is not MISSING and type(state) is not tuple:
        return Raised("TypeError"), state
    items = (() if state is MISSING else state) + (append.value,)
    kept = items if append.limit is None else items[-append.limit :]
    return len(kept), kept


def _remove(_: Any, __: None) -> tuple[None, Hashable]:
    return None, MISSING


_OPERATIONS: dict[str, Callable[[Any, Any], tuple[Any, Hashable]]] = {
    "get": _get,
    "set": _set,
    "add": _add,
    "delete": _delete,
    "inc": _inc,
    "update": _update,
    "compare_and_set": _compare_and_set,
    "has": _has,
    "put": _put,
    "exchange": _exchange,
    "get_or_set": _get_or_set,
    "inc_saturated": _inc_saturated,
    "append": _append,
    "remove": _remove,
}
