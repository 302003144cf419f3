"""Every way to store a value or create a counter."""

import datetime
import math

import pytest

from sharedstate import ABSENT
from sharedstate.keyspace.arguments import MAX_TIMEOUT

STORE = {
    "set": lambda state, key, value, **options: state.set(key, value, **options),
    "put": lambda state, key, value, **options: state.put(key, value, **options),
    "add": lambda state, key, value, **options: state.add(key, value, **options),
    "exchange": lambda state, key, value, **options: state.exchange(key, value, **options),
    "set_many": lambda state, key, value, **options: state.set_many({key: value}, **options),
    "get_or_set": lambda state, key, value, **options: state.get_or_set(
        key, lambda: value, **options
    ),
    "compare_and_set": lambda state, key, value, **options: state.compare_and_set(
        key, ABSENT, value, **options
    ),
}
CREATE = STORE | {
    "append": lambda state, key, value, **options: state.append(key, value, **options),
    "inc": lambda state, key, value, **options: state.inc(key, value, **options),
    "dec": lambda state, key, value, **options: state.dec(key, value, **options),
    "saturated": lambda state, key, value, **options: state.inc_saturated(key, value, **options),
    "once": lambda state, key, value, **options: state.inc(
        key, value, once=f"{key} {options}", **options
    ),
    "inc_many": lambda state, key, value, **options: state.inc_many({key: value}, **options),
}
UPDATE = {"update": lambda state, key, value: state.update(key, lambda present: value)}
WRONG_TIMEOUTS = [
    *((-1, ValueError), (-0.001, ValueError), (math.nan, ValueError), (math.inf, ValueError)),
    *((-math.inf, ValueError), (MAX_TIMEOUT + 1, ValueError), (10**400, ValueError)),
    *((True, TypeError), (False, TypeError), ("5", TypeError)),
    (datetime.timedelta(seconds=-1), ValueError),
]


def store_by_each(ways, state, value, **options):
    for name, way in ways.items():
        way(state, name, value, **options)
    return list(ways)


def refused_by_each(ways, state, error, match, value, **options):
    """All the ways refuse the value, and nothing is stored; returns the errors."""
    errors = []
    for name, way in ways.items():
        with pytest.raises(error, match=match) as caught:
            way(state, name, value, **options)
        errors.append(caught.value)
    assert state.get_many(*ways) == [None] * len(ways)
    return errors
