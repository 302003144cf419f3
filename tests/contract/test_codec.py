"""Values as bytes and back: what comes back equal, and what is refused."""

from __future__ import annotations

import datetime
import math
import pickle
from collections import OrderedDict
from decimal import Decimal

import pytest
from cachelib.serializers import (
    BaseSerializer,
    FileSystemSerializer,
    JSONSerializer,
    RedisSerializer,
    SimpleSerializer,
)
from codec_values import (
    JSON,
    JSON_VALUES,
    PICKLE,
    PICKLE_VALUES,
    Level,
    Point,
    Stubborn,
    by_each,
    shape,
    shown,
)
from hypothesis import given

from sharedstate import ConfigurationError, NotSerializable
from sharedstate.codec import (
    SerializerCodec,
    codec_from,
)


class TestRoundTrip:
    @given(JSON_VALUES)
    def test_json(self, value):
        """What JSON can say comes back equal, in the same order and of the same types."""
        assert shape(JSON.decode(JSON.encode(value))) == shape(value)

    @given(PICKLE_VALUES)
    def test_pickle(self, value):
        """What can be pickled comes back equal, in the same order and of the same types."""
        assert shape(PICKLE.decode(PICKLE.encode(value))) == shape(value)

    @pytest.mark.parametrize(
        "value",
        [
            *(b"", b"\0\xff", b"!", "!", (), (1, (2,)), {1: "a"}, {1, 2}, frozenset("a"), 1 + 2j),
            *(math.inf, Decimal("1.10"), datetime.date(2025, 1, 2), OrderedDict(b=1, a=2)),
            *(Level.LOW, Point(1, 2), range(3), ValueError, Level),
        ],
        ids=shown,
    )
    def test_objects(self, value):
        """Pickle keeps objects of any importable class."""
        found = PICKLE.decode(PICKLE.encode(value))
        assert (type(found), found) == (type(value), value)

    def test_nan(self):
        """Pickle keeps NaN, which equals nothing."""
        assert math.isnan(PICKLE.decode(PICKLE.encode(math.nan)))

    @by_each
    @pytest.mark.parametrize("value", [True, False, None, "5", 5.0, [5]], ids=shown)
    def test_not_taken_for_integers(self, codec, value):
        """What is no int, a bool above all, is not stored as one."""
        raw = codec.encode(value)
        found = codec.decode(raw)
        assert (type(found), found) == (type(value), value)
        assert not raw.isdigit()


class TestIntegers:
    @by_each
    @pytest.mark.parametrize("number", [0, -1, 42, 2**63 - 1, -(2**63), 2**70, -(10**100)])
    def test_plain_text(self, codec, number):
        """Every codec stores an int as its decimal digits."""
        assert codec.encode(number) == str(number).encode()
        found = codec.decode(str(number).encode())
        assert (type(found), found) == (int, number)

    @by_each
    def test_too_huge(self, codec):
        """An int of more digits than Python turns into text is refused."""
        with pytest.raises(NotSerializable, match="int"):
            codec.encode(10**5000)

    def test_too_huge_inside(self):
        """Nor does JSON take one inside a list, though pickle does."""
        with pytest.raises(NotSerializable):
            JSON.encode([10**5000])
        assert PICKLE.decode(PICKLE.encode([10**5000])) == [10**5000]


class TestPickle:
    @pytest.mark.parametrize("value", [lambda: None, Stubborn(), (i for i in ())], ids=shown)
    def test_refused(self, value):
        """What cannot be pickled is refused, whatever error of its own it raises."""
        with pytest.raises(NotSerializable, match="pickle") as caught:
            PICKLE.encode(value)
        assert caught.value.__cause__ is not None

    def test_form(self):
        """A value is stored as Flask-Caching stores it in Redis: a mark and the pickle."""
        assert RedisSerializer().loads(PICKLE.encode(["a"])) == ["a"]
        assert PICKLE.decode(b"!" + pickle.dumps(["a"])) == ["a"]


class TestDamage:
    @pytest.mark.parametrize("codec", [JSON, PICKLE], ids=lambda codec: codec.name)
    @pytest.mark.parametrize("raw", [b"", b"!", b"!\x80", b"text", b"\xff", b"[1", b"1.2.3"])
    def test_unreadable(self, codec, raw):
        """Bytes that the codec never wrote are an error, not None."""
        with pytest.raises(NotSerializable, match="cannot read"):
            codec.decode(raw)

    @pytest.mark.parametrize("value", ["text", None, [1], True, 1.5], ids=shown)
    def test_other_codec(self, value):
        """What one codec wrote another refuses to read, unless it is an int."""
        with pytest.raises(NotSerializable, match="another codec"):
            JSON.decode(PICKLE.encode(value))
        with pytest.raises(NotSerializable, match="another codec"):
            PICKLE.decode(JSON.encode(value))

    def test_class_is_gone(self):
        """A pickled object whose class is no longer there is an error that says so."""
        raw = PICKLE.encode(Level.LOW).replace(b"Level", b"Leven")
        with pytest.raises(NotSerializable, match="its class is gone.*Leven"):
            PICKLE.decode(raw)

    def test_class_of_a_script(self):
        """The class of a script that is gone is an error that says where to define it."""
        with pytest.raises(NotSerializable, match="Leven.*__main__.*define the class in a module"):
            PICKLE.decode(b"!c__main__\nLeven\n.")

    @pytest.mark.parametrize(
        "raw", [b"[" * 100_000, b'{"secret":' * 50_000, b"secret\xff" * 9, b"!c" + b"secret" * 1000]
    )
    @pytest.mark.parametrize("codec", [JSON, PICKLE], ids=lambda codec: codec.name)
    def test_message(self, codec, raw):
        """The message tells nothing of what is stored, and is short."""
        with pytest.raises(NotSerializable, match="cannot read") as caught:
            codec.decode(raw)
        assert "secret" not in str(caught.value)
        assert len(str(caught.value)) < 300

    def test_too_deep(self):
        """JSON in which lists are nested too deeply is an error that says so."""
        with pytest.raises(NotSerializable, match="nested too deeply"):
            JSON.decode(b"[" * 100_000)


class TestSerializers:
    @pytest.mark.parametrize(
        "serializer", [FileSystemSerializer, JSONSerializer, RedisSerializer, SimpleSerializer]
    )
    @pytest.mark.parametrize("value", ["text", None, True, 5, {"a": [1.5]}], ids=shown)
    def test_round_trip(self, serializer, value):
        """Values come back through each of cachelib's serializers."""
        codec = SerializerCodec(serializer())
        found = codec.decode(codec.encode(value))
        assert (type(found), found) == (type(value), value)

    @pytest.mark.parametrize(
        ("serializer", "value"),
        [(JSONSerializer, {1}), (SimpleSerializer, lambda: None), (RedisSerializer, Stubborn())],
    )
    def test_refused(self, serializer, value):
        """What the serializer cannot dump is refused, where cachelib would store nothing."""
        with pytest.raises(NotSerializable, match=serializer.__name__):
            SerializerCodec(serializer()).encode(value)

    @pytest.mark.parametrize("serializer", [JSONSerializer, SimpleSerializer])
    def test_unreadable(self, serializer):
        """What the serializer cannot load is an error, where cachelib would return None."""
        codec = SerializerCodec(serializer())
        for raw in (b"!{", b"!\x80\x05"):
            with pytest.raises(NotSerializable, match=serializer.__name__):
                codec.decode(raw)

    def test_own(self):
        """A serializer of the application's own works by its `dumps` and `loads` alone."""

        class Reversed(BaseSerializer):
            def dumps(self, value):
                return value[::-1].encode()

            def loads(self, raw):
                return raw.decode()[::-1]

        codec = SerializerCodec(Reversed())
        assert codec.encode("abc") == b"!cba"
        assert codec.decode(b"!cba") == "abc"


class TestSettings:
    def test_default(self):
        """The library's codec is pickle unless it is told another."""
        assert codec_from({}).name == "pickle"
        assert codec_from({"CACHE_CODEC": None}).name == "pickle"

    @pytest.mark.parametrize("name", ["json", "pickle", "msgpack"])
    def test_by_name(self, name):
        """`CACHE_CODEC` names the codec."""
        assert codec_from({"CACHE_CODEC": name}).name == name

    @pytest.mark.parametrize("name", ["msgspec", "JSON", 5], ids=shown)
    def test_unknown(self, name):
        """An unknown codec is an error that names the setting and those there are."""
        with pytest.raises(
            ConfigurationError, match="CACHE_CODEC.*pickle or json or msgpack or signed-pickle"
        ):
            codec_from({"CACHE_CODEC": name})

    @pytest.mark.parametrize("serializer", [JSONSerializer, JSONSerializer()])
    def test_serializer(self, serializer):
        """`CACHE_SERIALIZER` may be a class of cachelib's or an object of it."""
        codec = codec_from({"CACHE_SERIALIZER": serializer})
        assert codec.name == "JSONSerializer"
        assert codec.encode(["a"]) == b'!["a"]'
