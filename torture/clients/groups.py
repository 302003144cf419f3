"""The operations of the contract on several keys, and the lock."""

from __future__ import annotations

from typing import Any

from sharedstate import State

from ..judging.key_model import MISSING, Inc
from .calls import Call, Part
from .client import Client, Keys, table
from .epoch import guarded_key_of, prefix_of
from .guarded import guarded_increment

_often, GROUPS = table()


@_often(1, "get_many")
def _get_many(me: Client, keys: Keys, _: Keys) -> Call:
    parts = tuple(Part(key, "get") for key in keys)
    return Call("", parts, lambda s: s.get_many(*keys, default=MISSING))


@_often(1, "set_many")
def _set_many(me: Client, keys: Keys, _: Keys) -> Call:
    values = {key: me.fresh() for key in keys}
    parts = tuple(Part(key, "set", value) for key, value in values.items())

    def run(state: State) -> Any:
        state.set_many(values)
        return [True for _ in keys]

    return Call("", parts, run, is_whole=False)


@_often(1, "delete_many")
def _delete_many(me: Client, keys: Keys, _: Keys) -> Call:
    parts = tuple(Part(key, "delete") for key in keys)

    def run(state: State) -> Any:
        removed = state.delete_many(*keys)
        return [key in removed for key in keys]

    return Call("", parts, run, is_whole=False)


@_often(1, "inc_many")
def _inc_many(me: Client, keys: Keys, _: Keys) -> Call:
    deltas = {key: me.delta() for key in keys}
    parts = tuple(Part(key, "inc", Inc(delta)) for key, delta in deltas.items())

    def run(state: State) -> Any:
        numbers = state.inc_many(deltas)
        return [numbers[key] for key in keys]

    return Call("", parts, run)


@_often(2, "batch")
def _batch(me: Client, keys: Keys, _: Keys) -> Call:
    value = me.fresh()
    parts = (Part(keys[0], "set", value), Part(keys[1], "inc", Inc()))

    def run(state: State) -> Any:
        batch = state.batch()
        batch.set(keys[0], value)
        batch.inc(keys[1])
        return batch.apply()

    return Call("", parts, run)


@_often(1, "keys")
def _keys(me: Client, _: Keys, all_keys: Keys) -> Call:
    prefix = prefix_of(all_keys)

    def run(state: State) -> Any:
        found = set(state.keys(prefix))
        return [key in found for key in all_keys]

    return Call("", tuple(Part(key, "has") for key in all_keys), run)


@_often(1, "delete_prefix")
def _delete_prefix(me: Client, keys: Keys, all_keys: Keys) -> Call:
    """Of one key, as the others should live on."""

    def run(state: State) -> Any:
        state.delete_prefix(keys[0])
        return [None]

    return Call("", (Part(keys[0], "remove"),), run, is_whole=False)


@_often(2, "lock")
def _lock(me: Client, keys: Keys, all_keys: Keys) -> Call:
    """Of a counter with a key of its own, as its values have a fence beside them."""
    return guarded_increment(guarded_key_of(all_keys))
