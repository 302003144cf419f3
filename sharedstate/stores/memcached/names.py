"""Finds the names of our items on a memcached server, for those who want to remove them."""

from __future__ import annotations

import re
import secrets
from urllib.parse import unquote_to_bytes

from ...errors import NotSupported, StoreFull
from .server import Busy, Connection, Refused, Server

_DUMP = b"lru_crawler metadump hash\r\n"
_MARK_SECONDS = 60

_FOREIGN = re.compile(rb"[\0-\x20\x7f]")
"""What no name of ours contains, and no command could carry."""


def names(server: Server, start: bytes) -> list[bytes] | None:
    """The names that begin with ``start``, or ``None`` if the server cannot tell just now.

    memcached walks the table of all its items: one that is there the whole time is found.

    :raises NotSupported: if the server is not allowed to.
    """
    mark = _mark(server)

    def read(reply: Connection) -> list[bytes]:
        # Without a stop, and keeping ours only: the server locks a part of its table meanwhile.
        found = map(_name, reply.dump())
        return [name for name in found if name and name.startswith((start, mark or start))]

    try:
        found = server.ask(_DUMP, read)
    except Busy:
        return None
    except Refused as error:
        raise NotSupported(
            f"memcached at {server.name} does not list its keys, which takes its LRU crawler and "
            f"no option -X: {error}"
        ) from error
    if mark is None:
        return found
    # A list that lacks what is certainly there is not a whole one.
    return [name for name in found if name != mark] if mark in found else None


def _mark(server: Server) -> bytes | None:
    """The name of an item that is there, unless there is no room for one."""
    mark = b"%%-mark-%s" % secrets.token_hex(8).encode()
    try:
        server.ask(b"set %s 0 %d 0\r\n\r\n" % (mark, _MARK_SECONDS), Connection.is_stored)
    except StoreFull:
        return None
    return mark


def _name(line: bytes) -> bytes:
    """The name in a line of the dump, empty if it is not one of ours."""
    name = unquote_to_bytes(line[4:].partition(b" ")[0])
    return b"" if _FOREIGN.search(name) else name
