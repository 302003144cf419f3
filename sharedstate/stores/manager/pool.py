"""A process's connections to a manager."""

from __future__ import annotations

import threading
from collections.abc import Callable

from .client import Connection


class Pool:
    """The connections of one process: as many as there are requests at once, and used again.

    :param connect: returns a new connection.
    """

    def __init__(self, connect: Callable[[], Connection]) -> None:
        self._connect = connect
        self._lock = threading.Lock()
        self._idle: list[Connection] = []
        self._all: set[Connection] = set()

    def take(self) -> Connection:
        """A connection that no other thread uses, to be given back or dropped.

        :raises OSError: what ``connect`` raises, if none is idle.
        """
        with self._lock:
            if self._idle:
                return self._idle.pop()
        connection = self._connect()
        with self._lock:
            self._all.add(connection)
        return connection

    def give_back(self, connection: Connection) -> None:
        """Keep it for the next request."""
        with self._lock:
            if connection in self._all:
                self._idle.append(connection)
                return
        connection.close()

    def drop(self, connection: Connection) -> None:
        """Close it, as it failed, and the others, which lead to the same manager, once idle."""
        with self._lock:
            self._all.discard(connection)
        connection.close()
        self.clear()

    def clear(self) -> None:
        """Close what is idle, and what is in use when it is given back."""
        with self._lock:
            idle, self._idle = self._idle, []
            self._all.clear()
        for connection in idle:
            connection.close()

    def forget(self) -> None:
        """Close this process's copies of what belongs to its parent."""
        for connection in self._all:
            connection.close()
