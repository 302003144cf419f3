"""States on an environment of LMDB."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sharedstate import State


@contextmanager
def opened(directory: Path, **settings: Any) -> Iterator[State]:
    state = State.from_settings({"CACHE_TYPE": "lmdb", "CACHE_DIR": str(directory), **settings})
    try:
        yield state
    finally:
        state.close()
