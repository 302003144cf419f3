"""What the memcached store sends and holds: numbers, values, and when they end."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest
from backends import FakeClock
from comparison import Comparison
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test
from memcached_servers import Telnet

from sharedstate import NotSerializable, OutOfBounds, State
from sharedstate.stores.memcached.item import from_text, lifetime, to_text
from sharedstate.stores.memcached.server import Server
from sharedstate.stores.memcached.store import MemcachedStore
from sharedstate.stores.operations import NEVER, Put

MAX, MIN = 2**63 - 1, -(2**63)
EDGE = 2**62
DAY = 24 * 3600


# What is sent, and what is held.

ROUND_TRIPS: dict[str, tuple[int, Callable[[State], Any]]] = {
    "get": (1, lambda s: s.get("a")),
    "has": (1, lambda s: s.has("a")),
    "item": (1, lambda s: s.item("a")),
    "get_many": (1, lambda s: s.get_many("a", "b", "n")),
    "set": (1, lambda s: s.set("a", 1, 60)),
    "set a new one": (2, lambda s: s.set("new", 1)),
    "add": (1, lambda s: s.add("new", 1, 60)),
    "add in vain": (2, lambda s: s.add("a", 1)),
    "inc": (1, lambda s: s.inc("n")),
    "dec": (1, lambda s: s.dec("n", 5)),
    "inc a new one": (3, lambda s: s.inc("new")),
    "bounded inc": (2, lambda s: s.inc("n", maximum=99)),
    "inc out of bounds": (1, lambda s: pytest.raises(OutOfBounds, s.inc, "n", maximum=0)),
    "exchange": (2, lambda s: s.exchange("a", 2)),
    "touch": (2, lambda s: s.touch("a", 60)),
    "delete": (2, lambda s: s.delete("a")),
    "delete in vain": (1, lambda s: s.delete("new")),
    "compare_and_set": (2, lambda s: s.compare_and_set("a", 1, 2)),
    "compare_and_set in vain": (1, lambda s: s.compare_and_set("a", 5, 2)),
}


@pytest.mark.parametrize("name", ROUND_TRIPS)
def test_round_trips(state: State, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """What is done most is one request, and nothing is more than it has to be."""
    state.set("a", 1)
    state.set("n", 1)
    expected, operation = ROUND_TRIPS[name]
    asked = []
    ask = Server.ask

    def count(self: Server, request: bytes, *args: Any, **options: Any) -> Any:
        asked.append(request)
        return ask(self, request, *args, **options)

    monkeypatch.setattr(Server, "ask", count)
    operation(state)
    assert len(asked) == expected


def test_telnet_shows_it(state: State, server: Telnet) -> None:
    """Counters are numbers that telnet shows and counts on; what ends begins with when it does."""
    state.inc("n", 41)
    assert server.get("test:n") == b"41"
    assert server.ask("incr test:n 1") == b"42"
    assert state.get("n") == 42
    state.set("v", {"a": "b c"})
    assert server.get("test:v") == b'@inf {"a":"b c"}'
    FakeClock(state.store, {})
    state.set("t", 5, 0.25)
    assert server.get("test:t") == b"@1800000000.25 5"


def test_anothers_values_are_errors_and_stay(state: State, server: Telnet) -> None:
    """What somebody else wrote under our key is no value and no counter, until it is replaced."""
    server.ask("set test:a 0 0 5\r\nhello")
    for operation in (state.get, state.inc, state.item, state.delete):
        with pytest.raises(NotSerializable, match="memcached"):
            operation("a")
    assert server.get("test:a") == b"hello"
    state.set("a", 1)
    assert state.get("a") == 1


# Numbers.


def test_negative_numbers(state: State, server: Telnet) -> None:
    """memcached's unsigned arithmetic goes below zero and back, in one request each."""
    assert [state.dec("n") for _ in range(3)] == [-1, -2, -3]
    assert server.get("test:n") == b"%d" % (2**64 - 3)
    assert state.get("n") == -3
    assert [state.inc("n", 2) for _ in range(3)] == [-1, 1, 3]
    # Shorter than before, it is padded with spaces.
    assert state.get("n") == 3
    assert state.compare_and_set("n", 3, 4)


@pytest.mark.parametrize("seed", range(5))
def test_any_number(state: State, seed: int) -> None:
    """Counters are exact where memcached's arithmetic does it, where not, and on the way."""
    dice = random.Random(seed)
    starts = [0, 1, -1, EDGE - 1, EDGE, -EDGE, 1 - EDGE, MAX - 1, MIN + 1, MAX, MIN]
    deltas = [0, 1, -1, 2**32, -(2**32), 2**32 + 1, EDGE, -EDGE, MAX, MIN]
    for start in starts:
        state.set("n", start)
        number = start
        for _ in range(20):
            delta = dice.choice(deltas)
            if MIN <= number + delta <= MAX:
                number += delta
                assert state.inc("n", delta) == number
            else:
                with pytest.raises(OutOfBounds):
                    state.inc("n", delta)
            assert state.get("n") == number


@pytest.mark.parametrize("sign", [1, -1])
def test_out_of_what_is_safe(state: State, server: Telnet, sign: int) -> None:
    """A number that memcached counted too far is written so that it counts there no more."""
    state.set("n", sign * (EDGE - 1))
    assert server.get("test:n") == b"%d" % (sign * (EDGE - 1) % 2**64)
    assert state.inc("n", sign) == sign * EDGE
    assert server.get("test:n") == b"@inf %d" % (sign * EDGE)
    assert server.ask("incr test:n 1").startswith(b"CLIENT_ERROR")
    assert state.inc("n", -sign) == sign * (EDGE - 1)
    assert server.get("test:n") == b"%d" % (sign * (EDGE - 1) % 2**64)


@pytest.mark.parametrize("value", [b"007", b"+7", b"-0", b" 7", b"7 ", b"1_0", b"", b"1.5", b"1 x"])
def test_bytes_come_back(memcached_port: int, empty_memcached: str, value: bytes) -> None:
    """What memcached would take for a number, and we write otherwise, keeps its bytes."""
    with closing(MemcachedStore([("127.0.0.1", memcached_port)])) as store:
        store.transact([b"a"], Put(value, 0))
        assert store.values([b"a"]) == [value]
        assert from_text(to_text((value, NEVER))) == (value, NEVER)


class Unlisted(Comparison):
    """Without what memcached does not do."""

    inc_many = None
    keys = None


@pytest.mark.slow
def test_like_a_dictionary(state: State) -> None:
    """Whatever is done, in any order, it returns what a dictionary would."""
    run_state_machine_as_test(
        lambda: Unlisted(state, FakeClock(state.store, {})),
        settings=settings(
            max_examples=12,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )


# Time.


def exptime(server: Telnet, name: str) -> int:
    """Seconds that the server keeps it, −1 for ever."""
    return int(server.ask(f"mg {name} t").split()[1][1:])


@pytest.mark.parametrize("seconds", [0.01, 1, 60, 29 * DAY, 30 * DAY, 31 * DAY, 3650 * DAY])
def test_the_server_keeps_it_longer(state: State, server: Telnet, seconds: float) -> None:
    """What ends is kept for at least its time, also past the 30 days that memcached counts."""
    state.set("a", 1, seconds)
    assert seconds - 30 * (seconds >= 60) < exptime(server, "test:a") < seconds + 15
    if seconds >= 60:  # What ends sooner may have ended by now.
        assert state.ttl("a") == pytest.approx(seconds, abs=30)


def test_past_2038(state: State, server: Telnet) -> None:
    """What ends after the last moment that memcached knows is kept, and ends."""
    clock = FakeClock(state.store, {})
    state.set("a", 1, 90 * 365 * DAY)
    assert exptime(server, "test:a") == -1
    clock.advance(90 * 365 * DAY + 1)
    assert not state.has("a")
    assert lifetime(1e300, 0) == 0


def test_fractions_of_a_second(state: State) -> None:
    """A record ends at its moment, not at a whole second."""
    clock = FakeClock(state.store, {})
    state.set("a", 1, 0.5)
    assert not state.add("a", 2)
    clock.advance(0.49)
    assert state.get("a") == 1
    clock.advance(0.02)
    assert state.get("a") is None
    assert not state.delete("a")
    assert state.add("a", 2, 0.5)
    clock.advance(0.6)
    assert state.inc("a") == 1
