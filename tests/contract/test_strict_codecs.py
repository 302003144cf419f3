"""JSON and MessagePack refuse what would not come back equal."""

from __future__ import annotations

import datetime
import enum
import json
import math
import sys
from decimal import Decimal

import pytest
from codec_values import JSON, JSON_VALUES, MSGPACK, Level, Point, integers_in, shape, shown
from hypothesis import given

from sharedstate import ConfigurationError, NotSerializable
from sharedstate.codec import (
    codec_from,
)


class TestStrictJSON:
    @pytest.mark.parametrize(
        "value",
        [
            *((), (1, 2), [(1,)], {"a": (1,)}, Point(1, 2)),
            *({1: "a"}, {None: 1}, {True: 1}, {1.5: 1}, {"a": {1: 1}}, {"1": "a", 1: "a"}),
            *(math.nan, math.inf, -math.inf, [math.nan], {"a": math.inf}),
            *(b"", b"bytes", [b"a"], {1, 2}, frozenset(), 1 + 2j, object(), len, Decimal("1")),
            *(datetime.date(2025, 1, 2), "\ud800", ["\udfff"], {"\ud800": 1}),
        ],
        ids=shown,
    )
    def test_refused(self, value):
        """What JSON cannot say, or would give back as something else, is refused."""
        with pytest.raises(NotSerializable, match="(?i)json") as caught:
            JSON.encode(value)
        assert type(value).__name__ in str(caught.value)

    def test_circular(self):
        """A list in itself is refused."""
        value = []
        value.append(value)
        with pytest.raises(NotSerializable):
            JSON.encode(value)

    def test_too_deep(self):
        """A list in a list, and so on too far, is refused."""
        value = []
        for _ in range(100_000):
            value = [value]
        with pytest.raises(NotSerializable, match="nested too deeply"):
            JSON.encode(value)

    def test_is_json(self):
        """What is stored is JSON that anybody can read, in UTF-8 and without spaces."""
        raw = JSON.encode({"ä": [1, None, True, "🎉"]})
        assert raw == '{"ä":[1,null,true,"🎉"]}'.encode()
        assert json.loads(raw) == {"ä": [1, None, True, "🎉"]}


class TestStrictMessagePack:
    @given(JSON_VALUES)
    def test_round_trip(self, value):
        """What JSON can hold comes back, of the same types, but for integers past 64 bits."""
        try:
            raw = MSGPACK.encode(value)
        except NotSerializable:
            assert any(abs(number) >= 2**63 for number in integers_in(value))
            return
        assert shape(MSGPACK.decode(raw)) == shape(value)

    @pytest.mark.parametrize(
        "value",
        [b"", b"5", [b"\xff"], {1: "a"}, {None: 1}, {b"a": [1.5]}, math.inf, *range(-40, 140)],
        ids=shown,
    )
    def test_more_than_json(self, value):
        """Bytes, and keys that are no text, come back too; no number is taken for another."""
        found = MSGPACK.decode(MSGPACK.encode(value))
        assert shape(found) == shape(value)

    @pytest.mark.parametrize("number", [1, 33, 48, 57, -3])
    def test_an_int_that_is_more(self, number):
        """An IntEnum is stored as its number, whatever that looks like once it is packed."""
        member = enum.IntEnum("Number", {"IT": number}).IT
        assert MSGPACK.decode(MSGPACK.encode(member)) == number

    @pytest.mark.parametrize(
        "value",
        [
            *((), (1, 2), [(1,)], {"a": (1,)}, {1, 2}, frozenset("a"), Point(1, 2)),
            *(math.nan, [math.nan], 1 + 2j, object(), len, Decimal("1"), datetime.date(2025, 1, 2)),
            *("\ud800", ["\udfff"], [2**64], [-(2**63) - 1], bytearray(b"a").hex, Level),
        ],
        ids=shown,
    )
    def test_refused(self, value):
        """What MessagePack cannot say, or would give back as something else, is refused."""
        with pytest.raises(NotSerializable, match="(?i)m(essage|sg)pack"):
            MSGPACK.encode(value)

    @pytest.mark.parametrize("raw", [b"", b"-", b"5x", b"\xc1", b"\x92\x01", b"\xc0\xc0", b"\xa5a"])
    def test_unreadable(self, raw):
        """Bytes that it never wrote are an error, not None."""
        with pytest.raises(NotSerializable, match="cannot read"):
            MSGPACK.decode(raw)

    def test_too_deep(self):
        """Lists nested too deeply are refused on both ways."""
        value = []
        for _ in range(100_000):
            value = [value]
        with pytest.raises(NotSerializable, match="nested too deeply"):
            MSGPACK.encode(value)
        with pytest.raises(NotSerializable, match="nested too deeply"):
            MSGPACK.decode(b"\x91" * 100_000 + b"\xc0")

    def test_needs_its_package(self, monkeypatch):
        """Without msgspec the error says what to install."""
        monkeypatch.setitem(sys.modules, "msgspec", None)
        with pytest.raises(ConfigurationError, match=r"sharedstate\[msgpack\]"):
            codec_from({"CACHE_CODEC": "msgpack"})
