"""What a manager and its clients send each other."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharedstate import errors
from sharedstate.stores.manager.wire import (
    Refused,
    Reply,
    msgspec,
    replied,
    reply,
    request_to,
    requested,
)
from sharedstate.stores.memory import MemoryStore
from sharedstate.stores.operations import (
    Add,
    Batch,
    Exchange,
    Get,
    Increment,
    Once,
    Operation,
    Put,
    Remove,
    Swap,
    Touch,
)

_pack = msgspec.msgpack.encode


DATA = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary(max_size=40),
    lambda inner: st.lists(inner, max_size=5),
    max_leaves=20,
)


class _Raising(MemoryStore):
    """A store whose every operation ends in one error."""

    def __init__(self, error: errors.SharedStateError) -> None:
        super().__init__()
        self.error = error

    def ping(self) -> None:
        raise self.error


class TestMessages:
    @given(DATA)
    def test_results(self, data: Any) -> None:
        """A result comes out as it went in."""
        assert replied(_pack(Reply(1.5, data))) == Reply(1.5, data)

    @given(st.binary() | DATA.map(_pack))
    def test_noise(self, noise: bytes) -> None:
        """What is no request is a bad message, however deep or long it says it is."""
        for text in (noise, b"\x91" * 100_000, b"\xdd\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff"):
            with pytest.raises(Refused):
                requested(text)

    @pytest.mark.parametrize("text", [b"", b"\x91" * 100_000, b"\xdd\xff\xff\xff\xff", b"\xc0\xc0"])
    def test_replies_that_are_none(self, text: bytes) -> None:
        """A manager's noise is a bad message too."""
        for begin in (b"", b"\x92\x01"):
            with pytest.raises(Refused):
                replied(begin + text)

    @pytest.mark.parametrize(
        ("operation", "records"),
        [
            *((Get(), 1), (Remove(), 1), (Put(b"\0\xff", 1.5), 1), (Exchange(b"", 0.0), 1)),
            *((Add(b"x", 2.0), 1), (Touch(3.0), 1), (Swap(None, b"", -1.0, 0.0), 1)),
            (Once(Increment(-5, timeout=1.5, maximum=7), b"print"), 2),
            (Batch([(1, Get()), (0, Increment(2**63 - 1, -(2**63), 0.0))]), 2),
        ],
        ids=lambda operation: type(operation).__name__,
    )
    def test_operations(self, operation: Operation, records: int) -> None:
        """An operation is the same at the other end."""
        keys = [b"%d" % number for number in range(records)]
        method, arguments = requested(request_to(operation, keys)[4:])
        assert (method, arguments[0]) == ("transact", keys)
        assert repr(arguments[1]) == repr(operation)

    @pytest.mark.parametrize(
        "error",
        [
            *(errors.InvalidKey("a"), errors.NotACounter("b"), errors.NotSupported("c")),
            *(errors.StoreFull("d"), errors.TokenReused("e"), errors.ResultTooLarge(5)),
            errors.OutOfBounds(-(2**63), 2**63 - 1),
        ],
        ids=lambda error: type(error).__name__,
    )
    @pytest.mark.parametrize("step", [None, 0, 7])
    def test_errors(self, error: errors.SharedStateError, step: int | None) -> None:
        """An error is the same at the other end, with its step and its attributes."""
        error.step = step
        with pytest.raises(type(error)) as caught:
            replied(reply(_Raising(error), "ping", [])[4:]).result()
        assert str(caught.value) == str(error)
        assert vars(caught.value) == vars(error)
