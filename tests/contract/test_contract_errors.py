"""Errors on every store name the key that they are about, as the caller has it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from backends import Backend

from sharedstate import (
    ABSENT,
    NotACounter,
    NotSerializable,
    OutOfBounds,
    SharedStateError,
    State,
    ValueTooLarge,
)
from sharedstate.codec import JSONCodec
from sharedstate.stores.base import Store
from sharedstate.stores.operations import Put

Case = tuple[Callable[[State], Any], type[SharedStateError], str]
CASES: dict[str, Case] = {
    "inc": (lambda s: s.inc("text"), NotACounter, "text"),
    "bounds": (lambda s: s.inc("text", initial=5, maximum=4), NotACounter, "text"),
    "out of bounds": (lambda s: s.dec("number", minimum=1), OutOfBounds, "number"),
    "past the end": (lambda s: s.inc("number", 2**63 - 1), OutOfBounds, "number"),
    "set": (lambda s: s.set("text", object), NotSerializable, "text"),
    "put": (lambda s: s.put("text", object), NotSerializable, "text"),
    "add": (lambda s: s.add("text", object), NotSerializable, "text"),
    "exchange": (lambda s: s.exchange("text", object), NotSerializable, "text"),
    "exchanged": (lambda s: s.exchange("broken", 1), NotSerializable, "broken"),
    "absent": (lambda s: s.set("text", ABSENT), NotSerializable, "text"),
    "large": (lambda s: s.set("text", "x" * (2 << 20)), ValueTooLarge, "text"),
    "get": (lambda s: s.get("broken"), NotSerializable, "broken"),
    "item": (lambda s: s.item("broken"), NotSerializable, "broken"),
    "get_many": (lambda s: s.get_many("text", "broken"), NotSerializable, "broken"),
    "get_dict": (lambda s: s.get_dict("text", "broken"), NotSerializable, "broken"),
    "set_many": (lambda s: s.set_many({"number": 1, "text": object}), NotSerializable, "text"),
    "update": (lambda s: s.update("broken", lambda value: 1), NotSerializable, "broken"),
    "updated": (lambda s: s.update("text", lambda value: object), NotSerializable, "text"),
    "append": (lambda s: s.append("broken", 1), NotSerializable, "broken"),
    "appended": (lambda s: s.append("new", object), NotSerializable, "new"),
    "inc_saturated": (lambda s: s.inc_saturated("text"), NotACounter, "text"),
    "revise": (lambda s: s.revise("broken", lambda item: 1), NotSerializable, "broken"),
    "compare": (lambda s: s.compare_and_set("text", object, 1), NotSerializable, "text"),
    "compared": (lambda s: s.compare_and_set("broken", 1, 2), NotSerializable, "broken"),
    "get_or_set": (lambda s: s.get_or_set("new", lambda: object), NotSerializable, "new"),
}
TOGETHER: dict[str, Case] = {
    "once": (lambda s: s.inc("text", once="token"), NotACounter, "text"),
    "inc_once": (lambda s: s.inc_once("number", "token", maximum=0), OutOfBounds, "number"),
    "inc_many": (lambda s: s.inc_many({"number": 1, "text": 1}), NotACounter, "text"),
    "inc_many in bounds": (
        lambda s: s.inc_many({"new": 1, "number": 9}, maximum=9),
        OutOfBounds,
        "number",
    ),
}


@pytest.fixture
def filled(store: Store, backend: Backend) -> State:
    # On a cluster the prefix keeps all keys on one node.
    state = State(store, codec=JSONCodec(), prefix=f"{backend.prefix}json:")
    fill(state)
    return state


def fill(state: State) -> None:
    state.set_many({"number": 1, "text": "x"})
    state.store.transact((state.physical_prefix + b"broken",), Put(b"[" * 99_999, 0))


def check(state: State, case: Case) -> None:
    act, kind, key = case
    with pytest.raises(kind) as caught:
        act(state)
    assert caught.value.key == key
    assert str(caught.value).startswith(f"the key {key!r}")
    assert state.physical_prefix.decode() + key not in str(caught.value)


def test_alone(filled: State) -> None:
    """An operation of one key, or that does each by itself, names it."""
    for case in CASES.values():
        check(filled, case)
        fill(filled)


@pytest.mark.needs("once", "atomic_batch")
def test_together(filled: State) -> None:
    """One of several keys, or with a token, names the key that it is about."""
    for case in TOGETHER.values():
        check(filled, case)


def test_batch(filled: State) -> None:
    """A batch names the key of what it refuses, when it is collected, and when it is done."""
    batch = filled.batch()
    with pytest.raises(NotSerializable) as unstored:
        batch.set("text", object)
    assert unstored.value.key == "text"
    batch.inc("number")
    batch.inc("text")
    batch.item("broken")
    number, text, broken = batch.apply_each()
    assert number == 2
    assert (type(text), text.key) == (NotACounter, "text")
    assert (type(broken), broken.key) == (NotSerializable, "broken")


@pytest.mark.needs("atomic_batch")
def test_atomic_batch(filled: State) -> None:
    """A batch that does nothing names the key at which it ended, beside its step."""
    batch = filled.batch()
    batch.set("other", 1)
    batch.inc("number", maximum=0)
    with pytest.raises(OutOfBounds) as caught:
        batch.apply()
    assert (caught.value.key, caught.value.step) == ("number", 1)


@pytest.mark.needs("keys")
def test_listing(filled: State) -> None:
    """The error of an item in a listing names its key."""
    errors = [item.error for item in filled.items()[0] if item.error]
    assert [error.key for error in errors] == ["broken"]
