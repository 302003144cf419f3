"""What a power cut takes of what was not synced."""

from __future__ import annotations

import random
from collections.abc import Sequence

_CHANCES = (0.02, 0.5, 0.98)


class Loss:
    """One way in which a disk can have lost writes, drawn at random.

    All of them, none, those after some moment, or any: each write then reached the disk or did
    not, whichever came before or after it, or it is torn, with each of its sectors there or not.

    :param pending: the times of the writes that may be lost.
    """

    def __init__(self, rng: random.Random, pending: Sequence[int]) -> None:
        self._rng = rng
        self._fates: dict[int, float] = {}
        self._last = float("inf")
        self._kept = self._torn = 0.0
        kind = rng.choice(("all", "none", "after", "any", "any", "any"))
        if kind == "after":
            self._last = rng.choice(pending) if pending else 0
        if kind in ("none", "after"):
            self._kept = 1.0
        if kind == "any":
            self._kept = rng.choice(_CHANCES)
            self._torn = rng.choice((0.0, 0.5, 1.0))

    def choose(self, times: Sequence[int]) -> int:
        """Which write of a sector is the last on the disk: an index, or -1 for none of them."""
        for index in range(len(times) - 1, -1, -1):
            chance = self._fate(times[index])
            if chance == 1 or (chance and self._rng.random() < chance):
                return index
        return -1

    def _fate(self, time: int) -> float:
        """How probable it is that a sector of a write is there: 0, 1, or between if it is torn."""
        fate = self._fates.get(time)
        if fate is None:
            if time > self._last:
                fate = 0.0
            elif self._rng.random() < self._torn:
                fate = 0.5
            else:
                fate = float(self._rng.random() < self._kept)
            self._fates[time] = fate
        return fate
