"""Which keys are asked for now: a number in memory that all processes share."""

from __future__ import annotations

import mmap
import struct
from collections.abc import Sequence
from pathlib import Path

_NUMBER = struct.Struct("=q")
END = -1
KEYS = 4


class Epoch:
    """The number of the present epoch, `END` when the clients have to stop."""

    def __init__(self, path: Path) -> None:
        with path.open("r+b") as file:
            self._memory = mmap.mmap(file.fileno(), _NUMBER.size)

    @classmethod
    def create(cls, path: Path) -> Epoch:
        path.write_bytes(_NUMBER.pack(0))
        return cls(path)

    @property
    def number(self) -> int:
        return int(_NUMBER.unpack_from(self._memory)[0])

    @number.setter
    def number(self, number: int) -> None:
        _NUMBER.pack_into(self._memory, 0, number)

    def close(self) -> None:
        self._memory.close()


def keys_of(epoch: int) -> list[str]:
    """The keys of an epoch."""
    return [f"{epoch}.{number}" for number in range(KEYS)]


def prefix_of(keys: Sequence[str]) -> str:
    """What the keys of an epoch begin with, and no other key."""
    return keys[0].rpartition(".")[0] + "."


def guarded_key_of(keys: Sequence[str]) -> str:
    """The key of the counter behind a lock that belongs to an epoch's keys."""
    return f"guarded {prefix_of(keys)}"
