"""States on a manager that a test starts by using it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from managers import SECONDS

from sharedstate import State, StoreUnavailable


def state_in(directory: Path, **settings: Any) -> State:
    settings = {"CACHE_DIR": directory, "CACHE_TIMEOUT": SECONDS} | settings
    return State.from_settings({"CACHE_TYPE": "manager"} | settings)


@contextmanager
def opened(directory: Path, **settings: Any) -> Iterator[State]:
    with closing(state_in(directory, **settings)) as state:
        yield state


def settle(use: Callable[[], object]) -> None:
    while True:
        try:
            use()
            return
        except StoreUnavailable:
            pass
