"""Waiting until a key holds another value."""

from __future__ import annotations

import time
from collections.abc import Iterator

from ..keyspace import Item, Keyspace, version
from ..keyspace.arguments import checked_seconds

FIRST_PAUSE = 0.01
LONGEST_PAUSE = 0.25


def wait(space: Keyspace, key: str, known: str | None, timeout: float) -> Item | None:
    """Return what a key holds once that is another version; see :meth:`State.wait`."""
    physical = space.key(key)
    ends = time.monotonic() + checked_seconds(timeout)
    for pause in _pauses():
        (record,) = space.store.read((physical,))
        present = None if record is None else version(record[0])
        left = ends - time.monotonic()
        if present != known or left <= 0:
            return space.item(physical, record)
        time.sleep(min(pause, left))
    raise AssertionError  # pragma: no cover - the pauses never end


def _pauses() -> Iterator[float]:
    pause = FIRST_PAUSE
    while True:
        yield pause
        pause = min(1.5 * pause, LONGEST_PAUSE)
