"""The records that clients send of their calls: when each begins, and when it has ended.

A record is written to a pipe in one piece, so that all are whole when their process is killed.
"""

from __future__ import annotations

import os
import pickle
import struct
from collections.abc import Iterator
from typing import Any, NamedTuple

from .calls import Done, Part

_LENGTH = struct.Struct("=I")
_MOST = 4096  # PIPE_BUF on Linux: what a pipe takes in one piece.
_AT_ONCE = 1 << 20


class Begun(NamedTuple):
    """A call that begins now."""

    epoch: int
    parts: tuple[Part, ...]
    at: float


class Record(NamedTuple):
    """The end of a thread's last call, and the begin of its next one, or one of the two.

    :param started: when the call began, to the moment.
    """

    thread: int
    done: Done | None
    started: float
    ended: float
    begun: Begun | None


class Writer:
    """The writing end, for all threads of a process."""

    def __init__(self, pipe: int) -> None:
        self._pipe = pipe

    def write(self, record: Record) -> None:
        data = pickle.dumps(tuple(record), pickle.HIGHEST_PROTOCOL)
        assert len(data) + _LENGTH.size <= _MOST, record
        os.write(self._pipe, _LENGTH.pack(len(data)) + data)


class Reader:
    """The reading end."""

    def __init__(self, pipe: int) -> None:
        self.pipe = pipe
        self._rest = b""

    def read(self) -> Iterator[Record] | None:
        """The records that have come, or `None` when the process is gone."""
        data = os.read(self.pipe, _AT_ONCE)
        if not data:
            return None
        return self._records(data)

    def _records(self, data: bytes) -> Iterator[Record]:
        data = self._rest + data
        start = 0
        while len(data) - start >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(data, start)
            if len(data) - start - _LENGTH.size < length:
                break
            start += _LENGTH.size
            yield Record(*_loaded(data[start : start + length]))
            start += length
        self._rest = data[start:]


def _loaded(data: bytes) -> Any:
    return pickle.loads(data)  # Of a process that this one started.
