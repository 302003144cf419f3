"""Pauses between attempts that others may get ahead of."""

from __future__ import annotations

import random
from collections.abc import Iterator

_LONGEST = 0.01


def pauses(longest: float = 0.0001) -> Iterator[float]:
    """Random pauses in seconds that grow to 10 ms, so that many callers do not retry at once.

    :param longest: how long the first one may be.
    """
    while True:
        yield random.random() * longest
        longest = min(2 * longest, _LONGEST)
