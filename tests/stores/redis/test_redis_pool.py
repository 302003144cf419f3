"""The pool of connections to Redis: one that is idle is used again, if it still leads there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
import redis
from crowd import in_child

from sharedstate import State
from sharedstate.stores.redis.pool import keeping_pool


@pytest.fixture
def client(empty_redis: str) -> Iterator[redis.Redis]:
    """A client that sends nothing twice."""
    never = redis.retry.Retry(redis.backoff.NoBackoff(), 0)
    with redis.Redis.from_pool(keeping_pool().from_url(empty_redis, retry=never)) as client:
        yield client


@pytest.fixture
def other(empty_redis: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(empty_redis) as other:
        yield other


def test_it_is_the_one_that_stores_use(empty_redis: str) -> None:
    """A store whose URL leads to one server has such a pool."""
    with closing(State.from_settings({"CACHE_URL": empty_redis})) as state:
        assert type(state.store.client.connection_pool) is keeping_pool()


def test_used_again(client: redis.Redis) -> None:
    """One caller after the other has the same connection, and two at once have two."""
    assert len({client.client_id() for _ in range(5)}) == 1
    with client.client() as one, client.client() as two:
        both = {one.client_id(), two.client_id()}
    assert len(both) == 2
    assert client.client_id() in both


def test_closed_by_the_server(client: redis.Redis, other: redis.Redis) -> None:
    """A connection that the server has closed is not sent anything."""
    other.client_kill_filter(_id=str(client.client_id()))
    assert client.incr("n") == 1


def test_left_in_the_middle(client: redis.Redis) -> None:
    """A connection with a response that nobody has read gives it to nobody else."""
    pool = client.connection_pool
    connection = pool.get_connection()
    connection.send_command("ECHO", "not for you")
    while not connection.can_read(1):
        pass
    pool.release(connection)
    assert client.incr("n") == 1


def test_failed(client: redis.Redis) -> None:
    """A connection that was closed after an error is connected again."""
    pool = client.connection_pool
    connection = pool.get_connection()
    connection.disconnect()
    pool.release(connection)
    assert client.incr("n") == 1


def test_released_twice(client: redis.Redis) -> None:
    """A connection that is released twice is not given to two callers."""
    pool = client.connection_pool
    connection = pool.get_connection()
    pool.release(connection)
    pool.release(connection)
    assert pool.get_connection() is not pool.get_connection()


def test_connected_once(client: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that is away is waited for one time."""
    tries = []

    def connect() -> None:
        tries.append(1)
        raise redis.exceptions.ConnectionError("away")

    pool = client.connection_pool
    connection = pool.get_connection()
    connection.disconnect()
    pool.release(connection)
    monkeypatch.setattr(connection, "connect", connect)
    with pytest.raises(redis.exceptions.ConnectionError, match="away"):
        client.incr("n")
    assert tries == [1]


def test_disconnected(client: redis.Redis) -> None:
    """To disconnect closes those that are idle, and where it is asked to those that are not."""
    pool = client.connection_pool
    used, idle = pool.get_connection(), pool.get_connection()
    pool.release(idle)
    pool.disconnect(inuse_connections=False)
    assert [used.is_connected, idle.is_connected] == [True, False]
    pool.disconnect()
    assert not used.is_connected
    pool.release(used)
    assert client.incr("n") == 1


def test_bound(empty_redis: str) -> None:
    """It makes as many connections as it may, and not one more for those that it keeps."""
    pool = keeping_pool().from_url(empty_redis, max_connections=2)
    with redis.Redis.from_pool(pool) as client:
        for _ in range(5):
            with client.client() as one, client.client() as two:
                assert one.ping() and two.ping()
                with pytest.raises(redis.exceptions.ConnectionError, match="Too many"):
                    client.ping()
        assert client.ping()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks here")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_fork(client: redis.Redis) -> None:
    """A child does not use the connection of its parent."""
    number = client.client_id()
    assert in_child(client.client_id) != number
    assert client.client_id() == number


def test_older_drivers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a connection does not say whether it is connected the pool is redis-py's own."""

    class Connection:
        pass

    keeping_pool.cache_clear()
    monkeypatch.setattr(redis, "Connection", Connection)
    pool: Any = keeping_pool()
    keeping_pool.cache_clear()
    assert pool is redis.ConnectionPool
