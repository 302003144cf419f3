"""Numbers that several worker processes count together."""

from __future__ import annotations

import fcntl
import logging
import mmap
import os
import struct
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from weakref import WeakSet

logger = logging.getLogger(__name__)

_HEADER = struct.Struct("=II")  # The length of a row's name, and how many numbers it has.
_NUMBER_BYTES = 8
_FILE_BYTES = 1 << 20
_SUFFIX = ".tally"


class Tallies:
    """Rows of numbers by name, to which every process adds in a file of its own.

    What stands in a file counts even when its process has died, so that no total ever falls::

        worker 1   71-x.tally   hits 3
        worker 2   72-y.tally   hits 4      totals: hits 9
        (killed)   70-z.tally   hits 2

    An addition is a lock of this process and one store into a mapped file, which costs a fifth of
    what it does in prometheus_client's multi-process mode.

    :param directory: where the files are for as long as the processes that share them run; with
        ``None`` this process counts alone.
    """

    def __init__(self, directory: Path | None = None) -> None:
        self._directory = directory
        if directory is not None:
            directory.mkdir(parents=True, exist_ok=True)
        self._places: dict[str, int] = {}
        self._begin(())
        _all.add(self)

    def row(self, name: str, width: int = 1) -> int:
        """The place of the first of a row's numbers, which are 0 in the beginning."""
        with self._lock:
            place = self._places.get(name)
            return self._append(name, width) if place is None else place

    def add(self, place: int, amount: float = 1) -> None:
        """Add to a number of this process."""
        with self._lock:
            self._numbers[place] += amount

    def add_both(self, place: int, amount: float, other: int, to_other: float) -> None:
        """Add to two numbers of this process, for half of what it costs to do so one by one."""
        with self._lock:
            numbers = self._numbers
            numbers[place] += amount
            numbers[other] += to_other

    def totals(self) -> dict[str, list[float]]:
        """The rows of all processes, added up."""
        totals: dict[str, list[float]] = {}
        for content in self._contents():
            for name, numbers in _rows(content):
                before = totals.get(name, [0.0] * len(numbers))
                totals[name] = [a + b for a, b in zip(before, numbers, strict=True)]
        return totals

    def begin_anew(self) -> None:
        """In a child after a fork: count in a file of its own, with all rows in their places."""
        rows = [(name, len(numbers)) for name, numbers in _rows(self._map[:])]
        try:
            self._begin(rows)
        except OSError as error:
            logger.error("this process counts its metrics alone: %s", error)
            self._directory = None
            self._begin(rows)

    def _begin(self, rows: Iterable[tuple[str, int]]) -> None:
        self._lock = Lock()
        self._map = self._new_map()
        self._numbers = memoryview(self._map).cast("d")
        self._end = 0
        for name, width in rows:
            self._append(name, width)

    def _new_map(self) -> mmap.mmap:
        if self._directory is None:
            return mmap.mmap(-1, _FILE_BYTES)
        descriptor, _ = tempfile.mkstemp(_SUFFIX, f"{os.getpid()}-", self._directory)
        try:
            os.ftruncate(descriptor, _FILE_BYTES)
            return mmap.mmap(descriptor, _FILE_BYTES)
        finally:
            os.close(descriptor)

    def _append(self, name: str, width: int) -> int:
        encoded = name.encode()
        start = self._end + _HEADER.size
        place = start + _padded(len(encoded))
        end = place + width * _NUMBER_BYTES
        if end > _FILE_BYTES:
            raise RuntimeError(f"the names of all rows have to fit into {_FILE_BYTES:,} bytes")
        self._map[start : start + len(encoded)] = encoded
        # Last, and in one piece: whoever reads meanwhile sees all of the row or nothing.
        self._map[self._end : start] = _HEADER.pack(len(encoded), width)
        self._end = end
        self._places[name] = place // _NUMBER_BYTES
        return self._places[name]

    def _contents(self) -> Iterator[bytes]:
        if self._directory is None:
            yield self._map[:]
        else:
            for path in self._directory.glob(f"*{_SUFFIX}"):
                yield path.read_bytes()


@contextmanager
def temporary_directory() -> Iterator[Path]:
    """A directory for the time of the block, which nobody who tidies up ``/tmp`` empties."""
    with tempfile.TemporaryDirectory(prefix="sharedstate-") as name:
        descriptor = os.open(name, os.O_RDONLY)
        try:
            # systemd-tmpfiles leaves a directory alone that is locked; see tmpfiles.d(5).
            fcntl.flock(descriptor, fcntl.LOCK_SH)
            yield Path(name)
        finally:
            os.close(descriptor)


def _rows(content: bytes) -> Iterator[tuple[str, tuple[float, ...]]]:
    end = 0
    while end + _HEADER.size <= len(content):
        length, width = _HEADER.unpack_from(content, end)
        if not width:
            return
        start = end + _HEADER.size
        place = start + _padded(length)
        name = content[start : start + length].decode()
        yield name, struct.unpack_from(f"={width}d", content, place)
        end = place + width * _NUMBER_BYTES


def _padded(length: int) -> int:
    return -(-length // _NUMBER_BYTES) * _NUMBER_BYTES


_all: WeakSet[Tallies] = WeakSet()


def _begin_anew() -> None:
    for tallies in list(_all):
        tallies.begin_anew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)
