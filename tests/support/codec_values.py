"""Codecs, and values for them."""

from __future__ import annotations

import enum
import re
from collections import namedtuple

import pytest
from cachelib.serializers import (
    RedisSerializer,
    SimpleSerializer,
)
from hypothesis import strategies as st

from sharedstate.codec import (
    JSONCodec,
    MsgpackCodec,
    PickleCodec,
    SerializerCodec,
    SignedPickleCodec,
)

JSON, PICKLE, MSGPACK = JSONCodec(), PickleCodec(), MsgpackCodec()
SIGNED = SignedPickleCodec({"SECRET_KEY": "key"})
CODECS = [
    JSON,
    PICKLE,
    MSGPACK,
    SIGNED,
    *map(SerializerCodec, (SimpleSerializer(), RedisSerializer())),
]


def shown(value):
    """A value in the name of a test: the same in every process, so without its address."""
    return re.sub(r" at 0x\w+", "", repr(value))


by_each = pytest.mark.parametrize("codec", CODECS, ids=lambda codec: codec.name)
Point = namedtuple("Point", "x y")


class Level(enum.IntEnum):
    """An int that is more than an int."""

    LOW = 1


class Stubborn:
    """What raises an error of its own when it is pickled."""

    def __reduce__(self):
        raise OSError("not me")


# The ends of all ranges that a codec may treat apart. To draw from all characters, Hypothesis would
# first make a table of them, which takes seconds.
TEXTS = st.text(
    [
        *map(chr, range(0x81)),
        *"é\u0301☃🎉\u07ff\u0800\u2028\ud7ff\ue000\ufeff\uffff\U00010000\U0010ffff",
    ]
)
JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS,
    lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner),
    max_leaves=10,
)
PICKLE_VALUES = st.recursive(
    JSON_VALUES | st.binary() | st.decimals(allow_nan=False) | st.datetimes() | st.sets(TEXTS),
    lambda inner: st.tuples(inner, inner) | st.dictionaries(st.integers(), inner),
    max_leaves=5,
)


def shape(value):
    """The value with the types in it, as 1 equals True and 1.0."""
    if isinstance(value, dict):
        return [(shape(key), shape(item)) for key, item in value.items()]
    if isinstance(value, (list, tuple)):
        return type(value), [shape(item) for item in value]
    return type(value), value


def integers_in(value):
    """The integers of a value, however deep."""
    if isinstance(value, (dict, list)):
        parts = [*value.values()] if isinstance(value, dict) else value
        return [number for part in parts for number in integers_in(part)]
    return [value] if isinstance(value, int) else []
