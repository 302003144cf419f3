"""One memcached server: connections to it, and what can be asked.

This is a small client of its own. Its errors have to say whether a write was sent, a server that
is down has to keep its keys, and one that is full has to keep its values:

- pymemcache 4.0.0 connects inside of the call that sends (``Client._store_cmd`` and ``_misc_cmd``)
  and raises the same ``OSError`` or ``TimeoutError`` from both: a write that was never sent cannot
  be told from one whose outcome is unknown. ``PooledClient`` hands out an idle connection without
  looking at it, so that after a restart of the server a write is sent to the one that has gone.
- meta-memcache 4.3.0 stores with ``ms`` alone (``DefaultExecutor._conn_exec_cmd``). Of ``ms`` and
  ``set`` memcached 1.6.18 removes the old value when it has no memory for the new one; of ``add``,
  ``replace`` and ``cas`` it does not. It cannot list the keys of a server, which ``clear`` needs.
"""

from __future__ import annotations

import select
import socket
from collections import deque
from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeVar

from ...errors import ConfigurationError, StoreFull, StoreUnavailable

A = TypeVar("A")

_CHUNK = 1 << 16


class Item(NamedTuple):
    """What a server holds under a key."""

    text: bytes
    version: bytes
    """Another one after each change."""


class Refused(StoreUnavailable):
    """The server sent something else than what is expected.

    :ivar line: the first line of its reply.
    """

    def __init__(self, name: str, line: bytes, *, outcome_unknown: bool) -> None:
        hint = ", as before version 1.6.10, which is the first to use" if line == b"ERROR" else ""
        super().__init__(
            f"memcached at {name} responded {line.decode(errors='replace')!r}{hint}",
            outcome_unknown=outcome_unknown,
        )
        self.line = line


class Busy(Exception):
    """The server does now for somebody else what it does for one at a time."""


class _Unexpected(Exception):
    """A line that is no reply to the request."""


class Connection:
    """A connection, used by one thread or greenlet at a time."""

    def __init__(self, address: tuple[str, int], timeout: float) -> None:
        self._socket = socket.create_connection(address, timeout)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._poll = select.poll()
        self._poll.register(self._socket, select.POLLIN)
        self._unread = b""
        self.send = self._socket.sendall
        self.close = self._socket.close

    def is_sound(self) -> bool:
        """Whether nothing has come since the last reply, and least of all the end."""
        return not self._unread and not self._poll.poll(0)

    def line(self) -> bytes:
        """The next line of a reply."""
        while (end := self._unread.find(b"\r\n")) < 0:
            self._unread += self._receive()
        line, self._unread = self._unread[:end], self._unread[end + 2 :]
        return line

    def number(self) -> bytes | None:
        """The reply to ``incr``: digits, or ``None`` where there is nothing that it counts on."""
        line = self.line()
        if line.isdigit():
            return line
        if line == b"NOT_FOUND" or line.startswith(b"CLIENT_ERROR cannot increment"):
            return None
        raise _Unexpected(line)

    def is_stored(self) -> bool:
        """The reply to ``add``, ``replace`` and ``cas``."""
        return self._is(b"STORED", b"NOT_STORED", b"EXISTS", b"NOT_FOUND")

    def is_removed(self) -> bool:
        """The reply to ``md``."""
        return self._is(b"HD", b"NF", b"EX")

    def is_there(self) -> bool:
        """The reply to ``mn``."""
        return self._is(b"MN")

    def item(self) -> Item | None:
        """The reply to ``mg``, asked with ``v c``."""
        line = self.line()
        if line == b"EN":
            return None
        try:
            kind, size, version, *_ = line.split()
        except ValueError:
            raise _Unexpected(line) from None
        if kind != b"VA":
            raise _Unexpected(line)
        if version == b"c0":
            raise ConfigurationError("memcached must run without its option -C: nothing is exact")
        return Item(self._block(int(size)), version[1:])

    def setting(self, name: bytes) -> bytes | None:
        """The reply to ``stats settings``: one of them."""
        found = None
        while (line := self.line()) != b"END":
            kind, _, setting = line.partition(b" ")
            if kind != b"STAT":
                raise _Unexpected(line)
            if setting.startswith(name + b" "):
                found = setting[len(name) + 1 :]
        return found

    def dump(self) -> Iterator[bytes]:
        """The lines of the reply to ``lru_crawler metadump``, or :exc:`Busy`."""
        rest = b""
        while True:
            *lines, rest = (rest + self._receive()).split(b"\n")
            for line in lines:
                if line.startswith(b"key="):
                    yield line
                elif line == b"END\r":
                    return
                else:
                    raise Busy if line.startswith(b"BUSY") else _Unexpected(line.rstrip())

    def _is(self, yes: bytes, *no: bytes) -> bool:
        line = self.line()
        if line == yes:
            return True
        if line in no:
            return False
        raise _Unexpected(line)

    def _block(self, size: int) -> bytes:
        parts, missing = [self._unread], size + 2 - len(self._unread)
        while missing > 0:
            parts.append(self._receive())
            missing -= len(parts[-1])
        found = b"".join(parts) if len(parts) > 1 else parts[0]
        self._unread = found[size + 2 :]
        return found[:size]

    def _receive(self) -> bytes:
        data = self._socket.recv(_CHUNK)
        if not data:
            raise ConnectionResetError("the server closed the connection")
        return data


class Server:
    """Connections to a server, made when they are needed and kept for the next use."""

    def __init__(self, host: str, port: int, timeout: float) -> None:
        self.name = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self._address = host, port
        self._timeout = timeout
        self._idle: deque[Connection] = deque()

    def ask(self, request: bytes, read: Callable[[Connection], A], *, writes: bool = False) -> A:
        """What ``read`` finds in the server's reply; the request is sent one time.

        :param writes: whether it is unknown, when no reply comes, if something was changed.
        """
        connection = self._connection()
        try:
            connection.send(request)
            result = read(connection)
        except BaseException as error:
            # Of a reply that was not read to its end, somebody else would read the rest.
            connection.close()
            if isinstance(error, OSError):
                raise self._unavailable(error, writes) from error
            if isinstance(error, _Unexpected):
                raise self._refused(error.args[0], writes) from None
            raise
        self._idle.append(connection)
        return result

    def close(self) -> None:
        """Close all connections that are not in use."""
        idle, self._idle = self._idle, deque()
        for connection in idle:
            connection.close()

    def _connection(self) -> Connection:
        while True:
            try:
                connection = self._idle.pop()
            except IndexError:
                break
            if connection.is_sound():
                return connection
            connection.close()
        try:
            return Connection(self._address, self._timeout)
        except (OSError, UnicodeError) as error:  # The second one about what is no host's name.
            raise self._unavailable(error, outcome_unknown=False) from error

    def _unavailable(self, error: Exception, outcome_unknown: bool) -> StoreUnavailable:
        return StoreUnavailable(
            f"memcached at {self.name} is not available: {error}", outcome_unknown=outcome_unknown
        )

    def _refused(self, line: bytes, writes: bool) -> StoreFull | Refused:
        if b"out of memory" in line.lower():
            return StoreFull(f"memcached at {self.name} is full: {line.decode(errors='replace')}")
        has_done_nothing = line.startswith((b"SERVER_ERROR", b"CLIENT_ERROR", b"ERROR"))
        return Refused(self.name, line, outcome_unknown=writes and not has_done_nothing)
