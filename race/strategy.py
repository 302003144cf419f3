"""What a strategy is: an application that shares state in some way, and what is known of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from .clients.numbers import Reader, number_in
from .servers.scope import Scope


class Judged(Enum):
    """Whose numbers have to be 1, 2, 3, …"""

    ALL = "all clients together"
    EACH = "each client by itself"
    ONE = "one client that sends its requests at the same time"


class Origin(Enum):
    """Whose a strategy is."""

    THEIRS = "what people use"
    OURS = "this project's, which promises to be exact"
    YOURS = "the reader's own application, of which nothing is known"


@dataclass(frozen=True)
class Ask:
    """A request, as clients send it."""

    method: str = "GET"
    path: str = "/"
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None


@dataclass(frozen=True)
class Strategy:
    """A way of sharing state.

    :param name: for the command line.
    :param title: for people.
    :param target: "module:factory" of its application.
    :param scope: how far its state reaches.
    :param flaw: why it gives wrong numbers although the state is shared; empty if it is exact as
        far as `scope` goes.
    :param judged: whose numbers count.
    :param needs: the packages that have to be installed.
    :param program: the one of `race.servers.programs` that it keeps its state in.
    :param servers: what the names of the servers that it needs begin with; empty for any server.
    :param ask: the request for the next number.
    :param login: a request that goes before, for the cookies that its response sets.
    :param read: what reads the number of a response.
    :param env: its environment, with the fields ``{directory}`` (empty, its own), ``{address}``
        (of the program) and ``{port}`` (nobody else's).
    """

    name: str
    title: str
    target: str
    scope: Scope = Scope.HOST
    flaw: str = ""
    judged: Judged = Judged.ALL
    needs: tuple[str, ...] = ()
    program: str = ""
    env: Mapping[str, str] = field(default_factory=dict)
    origin: Origin = Origin.THEIRS
    servers: str = ""
    ask: Ask = Ask()
    login: Ask | None = None
    read: Reader = number_in
