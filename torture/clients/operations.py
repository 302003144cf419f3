"""The operations of the contract on one key."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sharedstate import ABSENT, State, StoreFull, StoreUnavailable

from ..judging.key_model import (
    MISSING,
    Append,
    CompareAndSet,
    Inc,
    Saturated,
    Update,
)
from .calls import Call, Part, frozen
from .client import Client, Keys, table

TRIES = 3
LEASE = 0.5
WAIT = 0.005


@dataclass(frozen=True)
class Plus:
    """A change of ``update``; equal to another one that adds as much."""

    amount: int

    def __call__(self, value: Any) -> Any:
        return value + self.amount if type(value) is int else self.amount


_often, OPERATIONS = table()


def _one(key: str, operation: str, argument: Any, run: Callable[[State], Any]) -> Call:
    return Call("", (Part(key, operation, argument),), lambda state: (run(state),))


@_often(8, "get")
def _get(me: Client, keys: Keys, _: Keys) -> Call:
    key = keys[0]

    def run(state: State) -> Any:
        value = state.get(key, MISSING)
        me.saw(key, frozen(value))
        return value

    return _one(key, "get", None, run)


@_often(8, "inc")
def _inc(me: Client, keys: Keys, _: Keys) -> Call:
    inc = Inc(me.delta(), maximum=me.rng.choice([None, None, None, 50]))
    return _one(keys[0], "inc", inc, lambda s: s.inc(keys[0], inc.delta, maximum=inc.maximum))


@_often(2, "dec")
def _dec(me: Client, keys: Keys, _: Keys) -> Call:
    return _one(keys[0], "inc", Inc(-1, minimum=-50), lambda s: s.dec(keys[0], minimum=-50))


@_often(3, "inc once")
def _inc_once(me: Client, keys: Keys, _: Keys) -> Call:
    """Is asked for again with the same token while it is not known whether it was applied."""
    token = f"token {me.fresh()}"

    def run(state: State) -> Any:
        lost = False
        for _ in range(TRIES):
            try:
                return state.inc(keys[0], once=token)
            except StoreUnavailable as error:
                lost = lost or error.outcome_unknown
            except StoreFull:
                if not lost:
                    raise
        raise StoreUnavailable("tried often enough", outcome_unknown=lost)

    return _one(keys[0], "inc", Inc(), run)


@_often(4, "set")
def _set(me: Client, keys: Keys, _: Keys) -> Call:
    value = me.fresh()
    return _one(keys[0], "set", value, lambda s: s.set(keys[0], value))


@_often(2, "put")
def _put(me: Client, keys: Keys, _: Keys) -> Call:
    value = me.fresh()
    return _one(keys[0], "put", value, lambda s: s.put(keys[0], value))


@_often(2, "add")
def _add(me: Client, keys: Keys, _: Keys) -> Call:
    value = me.fresh()
    return _one(keys[0], "add", value, lambda s: s.add(keys[0], value))


@_often(3, "delete")
def _delete(me: Client, keys: Keys, _: Keys) -> Call:
    return _one(keys[0], "delete", None, lambda s: s.delete(keys[0]))


@_often(1, "has")
def _has(me: Client, keys: Keys, _: Keys) -> Call:
    return _one(keys[0], "has", None, lambda s: s.has(keys[0]))


@_often(1, "ttl")
def _ttl(me: Client, keys: Keys, _: Keys) -> Call:
    return _one(keys[0], "has", None, lambda s: s.ttl(keys[0]) == 0)


@_often(1, "touch")
def _touch(me: Client, keys: Keys, _: Keys) -> Call:
    return _one(keys[0], "has", None, lambda s: s.touch(keys[0], 0))


@_often(1, "item")
def _item(me: Client, keys: Keys, _: Keys) -> Call:
    return _one(keys[0], "get", None, lambda s: _value(s.item(keys[0])))


@_often(1, "wait")
def _wait(me: Client, keys: Keys, _: Keys) -> Call:
    return _one(keys[0], "get", None, lambda s: _value(s.wait(keys[0], None, WAIT)))


def _value(item: Any) -> Any:
    return MISSING if item is None else item.value


@_often(2, "exchange")
def _exchange(me: Client, keys: Keys, _: Keys) -> Call:
    value = me.fresh()
    return _one(keys[0], "exchange", value, lambda s: s.exchange(keys[0], value, default=MISSING))


@_often(4, "update")
def _update(me: Client, keys: Keys, _: Keys) -> Call:
    change = Update(Plus(me.delta()), 0)
    return _one(keys[0], "update", change, lambda s: s.update(keys[0], change.change, default=0))


@_often(2, "revise")
def _revise(me: Client, keys: Keys, _: Keys) -> Call:
    change = Update(Plus(me.delta()), 0)

    def run(state: State) -> Any:
        return state.revise(
            keys[0], lambda item: change.change(change.default if item is None else item.value)
        )

    return _one(keys[0], "update", change, run)


@_often(4, "compare_and_set")
def _compare_and_set(me: Client, keys: Keys, _: Keys) -> Call:
    swap = CompareAndSet(me.seen.get(keys[0], MISSING), me.fresh())
    expected = ABSENT if swap.expected is MISSING else _thawed(swap.expected)
    return _one(
        keys[0],
        "compare_and_set",
        swap,
        lambda s: s.compare_and_set(keys[0], expected, swap.value),
    )


def _thawed(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


@_often(1, "inc_saturated")
def _inc_saturated(me: Client, keys: Keys, _: Keys) -> Call:
    inc = Saturated(3, 40)
    return _one(
        keys[0],
        "inc_saturated",
        inc,
        lambda s: s.inc_saturated(keys[0], inc.delta, maximum=inc.maximum),
    )


@_often(1, "append")
def _append(me: Client, keys: Keys, _: Keys) -> Call:
    append = Append(me.fresh(), 3)
    return _one(
        keys[0], "append", append, lambda s: s.append(keys[0], append.value, limit=append.limit)
    )


@_often(1, "get_or_set")
def _get_or_set(me: Client, keys: Keys, _: Keys) -> Call:
    value = me.fresh()
    return _one(
        keys[0],
        "get_or_set",
        value,
        lambda s: s.get_or_set(keys[0], lambda: value, lease=LEASE),
    )
