"""What the Redis store sends, and what it does with what others keep under its keys."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import redis

from sharedstate import (
    NotACounter,
    NotSerializable,
    State,
)
from sharedstate.state import Batch

OPERATIONS: dict[str, Callable[[State], Any]] = {
    "get": lambda s: s.get("a"),
    "set": lambda s: s.set("a", 1, 60),
    "put": lambda s: s.put("a", 1),
    "add": lambda s: s.add("a", 1, 60),
    "exchange": lambda s: s.exchange("a", 1),
    "delete": lambda s: s.delete("b"),
    "has": lambda s: s.has("a"),
    "ttl": lambda s: s.ttl("a"),
    "item": lambda s: s.item("a"),
    "touch": lambda s: s.touch("a", 60),
    "touch for ever": lambda s: s.touch("a", 0),
    "inc": lambda s: s.inc("n"),
    "bounded inc": lambda s: s.inc("n", initial=2, minimum=0, maximum=99, timeout=60),
    "inc once": lambda s: s.inc("n", once="token"),
    "compare_and_set": lambda s: s.compare_and_set("a", 1, 1),
    "get_many": lambda s: s.get_many("a", "b", "n"),
    "set_many": lambda s: s.set_many({"a": 1, "c": 2}, 60),
    "delete_many": lambda s: s.delete_many("x", "y"),
    "inc_many": lambda s: s.inc_many({"n": 1, "m": 2}, maximum=99),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_is_one_round_trip(
    state: State, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Each operation sends once, and Redis does the rest."""
    state.set("a", 1)
    OPERATIONS[name](state)  # Connects, and has the scripts loaded.
    sent = []
    send = redis.connection.AbstractConnection.send_packed_command

    def count(connection: Any, command: Any, *args: Any, **kwargs: Any) -> Any:
        sent.append(command)
        return send(connection, command, *args, **kwargs)

    monkeypatch.setattr(redis.connection.AbstractConnection, "send_packed_command", count)
    OPERATIONS[name](state)
    assert len(sent) == 1


def test_numbers_are_plain_text(state: State, server: redis.Redis) -> None:
    """What we count, ``redis-cli`` shows as a number and can count on, and the other way round."""
    state.inc("n", 41)
    assert server.get("test:n") == b"41"
    assert server.incr("test:n") == 42
    assert state.get("n") == 42


def test_no_command_that_stops_or_empties_the_server(state: State, server: redis.Redis) -> None:
    """Listing and clearing neither send KEYS nor FLUSHDB, and leave other keys alone."""
    server.config_resetstat()
    server.set("other", 1)
    state.set_many({str(number): number for number in range(3000)})
    assert len(state.keys()) == 3000
    state.clear()
    assert state.keys() == []
    assert server.get("other") == b"1"
    used = set(server.info("commandstats"))
    assert used & {"cmdstat_keys", "cmdstat_flushdb", "cmdstat_flushall"} == set()
    assert "cmdstat_unlink" in used


def test_forgotten_scripts_are_loaded_again(state: State, server: redis.Redis) -> None:
    """A server that lost its scripts, as by a restart, gets them again."""
    assert state.inc("n", initial=5) == 6
    server.script_flush()
    assert state.inc("n", initial=5) == 7


def test_other_types_are_errors_and_stay(state: State, server: redis.Redis) -> None:
    """A list under one of our keys is no value and no counter, and stays a list."""
    server.rpush("test:a", "x")
    for operation in (lambda: state.inc("a"), lambda: state.inc("a", minimum=0)):
        with pytest.raises(NotACounter):
            operation()
    with pytest.raises(NotSerializable):
        state.item("a")
    assert server.lrange("test:a", 0, -1) == [b"x"]


BESIDE_A_LIST: dict[str, tuple[Callable[[Batch], Any], type[Exception]]] = {
    "set": (lambda batch: batch.set("list", 1), NotSerializable),
    "delete": (lambda batch: batch.delete("list"), NotSerializable),
    "read": (lambda batch: batch.item("list"), NotSerializable),
    "inc": (lambda batch: batch.inc("list"), NotACounter),
}


@pytest.mark.parametrize("name", BESIDE_A_LIST)
def test_a_batch_with_another_type_does_nothing(
    state: State, server: redis.Redis, name: str
) -> None:
    """A list under a later key of a batch is found before the first one is written."""
    server.rpush("test:list", "x")
    collect, error = BESIDE_A_LIST[name]
    batch = state.batch()
    batch.inc("a", 5)
    batch.set("b", 1)
    collect(batch)
    with pytest.raises(error) as caught:
        batch.apply()
    assert caught.value.step == 2  # type: ignore[attr-defined]
    assert server.keys("*") == [b"test:list"]
    assert server.lrange("test:list", 0, -1) == [b"x"]


def test_each_of_a_batch_beside_a_list(state: State, server: redis.Redis) -> None:
    """Done each by itself, what meets another type is an error and the others are done."""
    server.rpush("test:list", "x")
    batch = state.batch()
    batch.inc("a", 5)
    batch.item("list")
    batch.inc("b")
    first, second, third = batch.apply_each()
    assert (first, third) == (5, 1)
    assert isinstance(second, NotSerializable)


def test_other_types_in_scripts_change_nothing(state: State, server: redis.Redis) -> None:
    """Neither a token nor its counter changes where one of both is a list."""
    server.rpush("test:list", "x")
    with pytest.raises(NotACounter):
        state.inc("list", once="token")
    with pytest.raises(NotSerializable):
        state.compare_and_set("list", 1, 2)
    assert server.keys("*") == [b"test:list"]
    server.rpush("\0once:test:token", "x")
    with pytest.raises((NotACounter, NotSerializable)):
        state.inc("n", once="token")
    assert state.get("n") is None
