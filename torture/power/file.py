"""A file on a disk that loses what was not synced."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

SECTOR = 512
"""Bytes that a disk writes whole or not at all."""

Choose = Callable[[Sequence[int]], int]
"""Which of the times a sector or a size has on the disk: an index, or -1 for what was durable."""


class Version(NamedTuple):
    """What a sector held at some time.

    :param is_cut: whether the file ended in it, or before it, since it was truncated then.
    """

    time: int
    data: bytes
    is_cut: bool


class File:
    """What a file holds, and what of it is durable.

    The kernel writes back what it likes when it likes, and a disk writes sectors in any order. So a
    sector that was written since the last sync has on the disk what it held after any of these
    writes, or what is durable. The size is that of any moment since. Where the disk has it that the
    file was truncated it no longer has what was there before, and where it has not, nothing that
    was written there after.
    """

    def __init__(self, is_directory: bool = False) -> None:
        self.is_directory = is_directory
        self.content = bytearray()
        self.is_mapped = False
        """Whether a program writes to it through its memory, which cannot be seen."""
        self._durable = bytearray()
        self._sectors: dict[int, list[Version]] = {}
        self._sizes: list[tuple[int, int]] = []

    def write(self, time: int, offset: int, data: bytes) -> None:
        """Write what may be lost until the next sync."""
        end = offset + len(data)
        self.extend(time, end)
        self.content[offset:end] = data
        self._remember(time, offset, end, False)

    def extend(self, time: int, size: int) -> None:
        """Make the file longer, with zeros."""
        if size > len(self.content):
            self.content.extend(bytes(size - len(self.content)))
            self._sizes.append((time, size))

    def truncate(self, time: int, size: int) -> None:
        """Make the file as long as that."""
        old = len(self.content)
        if size >= old:
            self.extend(time, size)
            return
        del self.content[size:]
        self._sizes.append((time, size))
        self._remember(time, size, old, True)

    def sync(self) -> None:
        """Make all of it durable."""
        for sector in self._sectors:
            self._put(self._durable, sector, self._held(sector))
        self._resize(self._durable, len(self.content))
        self._sectors.clear()
        self._sizes.clear()

    def sync_range(self, offset: int, length: int) -> None:
        """Make a part of it durable, and the size."""
        self._sizes.clear()
        for sector, versions in self._sectors.items():
            cuts = [index for index, version in enumerate(versions) if version.is_cut]
            if cuts:
                self._put(self._durable, sector, versions[cuts[-1]].data)
                del versions[: cuts[-1] + 1]
        for sector in _sectors(offset, offset + length):
            if self._sectors.pop(sector, None) is not None:
                self._put(self._durable, sector, self._held(sector))
        self._resize(self._durable, len(self.content))

    def pending(self) -> list[int]:
        """The times of what may be lost."""
        times = {time for time, _ in self._sizes}
        times.update(found.time for versions in self._sectors.values() for found in versions)
        return sorted(times)

    def left(self, choose: Choose) -> bytes:
        """What the disk has of it after a power cut."""
        chosen = choose([time for time, _ in self._sizes]) if self._sizes else -1
        resized, size = self._sizes[chosen] if chosen >= 0 else (-1, len(self._durable))
        found = bytearray(self._durable)
        for sector, versions in self._sectors.items():
            possible = _possible(versions, resized)
            index = choose([version.time for version in possible]) if possible else -1
            if index < 0 and possible and possible[0].is_cut:
                index = 0  # What was durable was cut off.
            if index >= 0:
                self._put(found, sector, possible[index].data)
        self._resize(found, size)
        return bytes(found)

    def _remember(self, time: int, start: int, end: int, is_cut: bool) -> None:
        for sector in _sectors(start, end):
            version = Version(time, self._held(sector), is_cut)
            self._sectors.setdefault(sector, []).append(version)

    def _held(self, sector: int) -> bytes:
        return bytes(self.content[sector * SECTOR : (sector + 1) * SECTOR]).ljust(SECTOR, b"\0")

    @staticmethod
    def _put(data: bytearray, sector: int, content: bytes) -> None:
        start = sector * SECTOR
        if len(data) < start + SECTOR:
            # The size cuts it off again.
            data.extend(bytes(start + SECTOR - len(data)))
        data[start : start + SECTOR] = content

    @staticmethod
    def _resize(data: bytearray, size: int) -> None:
        del data[size:]
        data.extend(bytes(size - len(data)))


def _sectors(start: int, end: int) -> range:
    return range(start // SECTOR, -(-end // SECTOR))


def _possible(versions: Sequence[Version], resized: int) -> Sequence[Version]:
    """Those that go with a size of some time: after the last cut until then, before the next."""
    first, last = 0, len(versions)
    for index, version in enumerate(versions):
        if version.is_cut:
            if version.time > resized:
                last = index
                break
            first = index
    return versions[first:last]
