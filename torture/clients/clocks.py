"""Clocks of clients that can be put wrong.

A process's ``time.time`` is replaced, which is what this library asks. libfaketime would reach
drivers too; its version 0.9.10 makes ``time.sleep`` of Python 3.11 and newer fail.
"""

from __future__ import annotations

import mmap
import struct
import time
from pathlib import Path

_SECONDS = struct.Struct("=2q")
NUMBER = 2


class Clocks:
    """How far two clocks are from the real time, in memory that all processes share."""

    def __init__(self, path: Path) -> None:
        with path.open("r+b") as file:
            self._memory = mmap.mmap(file.fileno(), _SECONDS.size)

    @classmethod
    def create(cls, path: Path) -> Clocks:
        path.write_bytes(bytes(_SECONDS.size))
        return cls(path)

    def jump(self, number: int, seconds: int) -> None:
        """Put a clock so far from the real time."""
        all_seconds = [*_SECONDS.unpack_from(self._memory)]
        all_seconds[number] = seconds
        _SECONDS.pack_into(self._memory, 0, *all_seconds)

    def follow(self, process: int) -> None:
        """Let this process have one of the clocks; which one its number says."""
        real, memory, number = time.time, self._memory, process % NUMBER
        time.time = lambda: real() + _SECONDS.unpack_from(memory)[number]

    def close(self) -> None:
        self._memory.close()
