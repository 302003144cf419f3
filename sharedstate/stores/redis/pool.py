"""A pool of redis-py's connections that hands on an idle one at a third of the cost."""

from __future__ import annotations

import os
from collections import deque
from functools import cache
from typing import Any

from ..support.drivers import import_driver


class Keeping:
    """Keeps what is released for the next one, before a pool that takes its time for either.

    It is a base class beside ``redis.ConnectionPool``, for which a connection that is kept here is
    in use. That pool makes the connections, counts them, and connects them again.
    """

    failures: tuple[type[Exception], ...]

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self._kept: deque[Any] = deque()
        self._given: set[Any] = set()
        super().__init__(*arguments, **options)

    def get_connection(self, *arguments: Any, **options: Any) -> Any:
        connection = self._take() or self._base.get_connection()
        self._given.add(connection)
        return connection

    def release(self, connection: Any) -> None:
        try:
            self._given.remove(connection)
        except KeyError:  # It was released before, and may be somebody else's.
            return
        if connection.should_reconnect():
            self._base.release(connection)
        else:
            self._kept.append(connection)

    def _take(self) -> Any:
        try:
            connection = self._kept.pop()
        except IndexError:
            return None
        if _is_ready(connection, self.failures):
            return connection
        # redis-py would hand on one with a response that was meant for somebody else.
        connection.disconnect()
        self._base.release(connection)
        return None

    def disconnect(self, inuse_connections: bool = True) -> None:
        while self._kept:
            self._base.release(self._kept.pop())
        self._base.disconnect(inuse_connections)

    @property
    def _base(self) -> Any:
        return super()


def _is_ready(connection: Any, failures: Any) -> bool:
    """Whether this process has connected it, and nothing has come from the server since.

    One that the server has closed, as it does when it ends, can be read from too.
    """
    try:
        return bool(
            connection.pid == os.getpid() and connection.is_connected and not connection.can_read()
        )
    except failures:
        return False


@cache
def keeping_pool() -> Any:
    """The class of the pools, or redis-py's own where its connections do not say what they are."""
    redis = import_driver("redis")
    if not hasattr(redis.Connection, "is_connected"):
        return redis.ConnectionPool
    failures = (redis.exceptions.RedisError, OSError)
    return type("KeepingPool", (Keeping, redis.ConnectionPool), {"failures": failures})
