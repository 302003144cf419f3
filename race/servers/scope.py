"""How far state reaches, from one request to all processes of a host."""

from __future__ import annotations

from enum import IntEnum


class Scope(IntEnum):
    """Who sees one and the same state. Each is wider than the one before it.

    A strategy has the scope that its state reaches, a server the scope that its workers need: the
    strategy can be exact under the server only if its scope is at least as wide.
    """

    REQUEST = 0
    """Nobody but the request itself."""
    PROCESS = 1
    """The threads of one process."""
    FORK = 2
    """Also the processes that are forked off it once the state is there."""
    HOST = 3
    """All processes of a host, however they were started."""
