"""The connections of a process that nobody uses at the moment."""

from __future__ import annotations

from collections import deque
from typing import Generic, Protocol, TypeVar


class Kept(Protocol):
    """A connection, as far as it is kept here."""

    generation: int
    """The :attr:`Idle.generation` in which it was made."""

    def is_usable(self) -> bool:
        """Whether it still leads to the server."""

    def hang_up(self) -> None:
        """Close it."""


C = TypeVar("C", bound=Kept)


class Idle(Generic[C]):
    """Connections that can be used again, the last one first."""

    def __init__(self) -> None:
        self.generation = 0
        """Moves on when the server is no longer the one to use; what is older is not kept."""
        self._connections: deque[C] = deque()

    def take(self) -> C | None:
        """One that is usable; a restarted server is noticed before something is sent."""
        while True:
            try:
                connection = self._connections.pop()
            except IndexError:
                return None
            if connection.is_usable():
                return connection
            connection.hang_up()

    def put(self, connection: C) -> None:
        """Keep one, unless its server is given up."""
        if connection.generation == self.generation:
            self._connections.append(connection)
        else:
            connection.hang_up()

    def give_up(self, connection: C) -> None:
        """Close all that are as old as this one, and those in use at the end of their use.

        After a fail-over they lead to the former primary.
        """
        if connection.generation == self.generation:
            self.generation = connection.generation + 1
            self.close()

    def close(self) -> None:
        """Close what nobody uses."""
        while True:
            try:
                self._connections.pop().hang_up()
            except IndexError:
                return
