"""What an operation of a client is, and what is made of how it ended."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from sharedstate import (
    NotACounter,
    NotSupported,
    OutOfBounds,
    Overloaded,
    State,
    StoreFull,
    StoreUnavailable,
)

from ..judging.key_model import Raised


class Part(NamedTuple):
    """What a call does to one key, in the words of `torture.judging.key_model`."""

    key: str
    operation: str
    argument: Any = None


class Call(NamedTuple):
    """One call of the public API.

    :param run: does it, and returns the results of the parts in their order.
    :param is_whole: whether an error of the store means that no part was done.
    """

    name: str
    parts: tuple[Part, ...]
    run: Callable[[State], Sequence[Any]]
    is_whole: bool = True


class NotDone(Exception):
    """What was asked for has certainly had no effect on the key."""


class Done(NamedTuple):
    """How a call ended.

    :param results: one for each part; `REFUSED` for a part that was certainly not done.
    :param error: its class; the text too if it is not promised.
    :param outcome: ``ok``, ``refused``, ``unknown``, or ``wrong``: an error that is not promised.
    """

    outcome: str
    results: tuple[Any, ...] = ()
    error: str = ""


REFUSED = "<refused>"
_OF_ONE_KEY = (NotACounter, OutOfBounds, TypeError)
_CERTAINLY_NOT = (NotDone, StoreFull, Overloaded)


def outcome_of(call: Call, state: State) -> Done:
    """Do a call, and say how it ended.

    :raises NotSupported: if the store cannot do it.
    """
    try:
        return Done("ok", tuple(map(frozen, call.run(state))))
    except NotSupported:
        raise
    except _OF_ONE_KEY as error:
        return _refused_by_a_key(call, error)
    except _CERTAINLY_NOT as error:
        return _failed(call, error, is_unknown=not call.is_whole)
    except StoreUnavailable as error:
        return _failed(call, error, is_unknown=error.outcome_unknown or not call.is_whole)
    except Exception as error:  # noqa: BLE001  # It is what the proof is to find.
        return Done("wrong", (), f"{call.name}: {type(error).__name__}: {error}")


def frozen(value: Any) -> Any:
    """The value with tuples for lists, as the model has it."""
    return tuple(map(frozen, value)) if isinstance(value, (list, tuple)) else value


def _refused_by_a_key(call: Call, error: Exception) -> Done:
    """An operation on a key that holds something else; in a batch the other keys are as before."""
    if not call.is_whole:
        return Done("unknown", (), type(error).__name__)
    key = getattr(error, "key", None) or call.parts[0].key
    raised = Raised(type(error).__name__)
    if len(call.parts) > 1 and sum(part.key == key for part in call.parts) != 1:
        return Done("refused", (), type(error).__name__)
    results = [raised if part.key == key else REFUSED for part in call.parts]
    return Done("ok", tuple(results))


def _failed(call: Call, error: Exception, *, is_unknown: bool) -> Done:
    return Done("unknown" if is_unknown else "refused", (), type(error).__name__)
