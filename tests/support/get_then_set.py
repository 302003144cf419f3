"""Get-then-set, as people make it: what every race has to find a fault in."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import cachelib

from sharedstate import ABSENT, State


class GetThenSet:
    """The same operations, as people make them of `get` and `set`."""

    def __init__(self, cache: Any) -> None:
        self._cache = cache

    def get(self, key: str, default: Any = None) -> Any:
        value = self._cache.get(key)
        time.sleep(0)  # Lets others run, as every reply from outside the process does.
        return default if value is None else value

    def set(self, key: str, value: Any) -> bool:
        return self._cache.set(key, value)

    def get_many(self, *keys: str) -> list[Any]:
        return self._cache.get_many(*keys)

    def set_many(self, mapping: dict[str, Any]) -> None:
        self._cache.set_many(mapping)

    def inc(self, key: str, once: str | None = None) -> int:
        number = self.get(once) if once else None
        if number is None:
            number = self._inc(key)
            if once:
                self.set(once, number)
        return number

    def inc_many(self, deltas: dict[str, int]) -> dict[str, int]:
        return {key: self._inc(key) for key in deltas}

    def _inc(self, key: str) -> int:
        number = self.get(key, 0) + 1
        self.set(key, number)
        return number

    def inc_saturated(self, key: str, delta: int, maximum: int) -> tuple[int, int]:
        before = self.get(key, 0)
        self.set(key, max(before, min(before + delta, maximum)))
        return max(before, min(before + delta, maximum)), min(delta, maximum - before)

    def append(self, key: str, value: Any) -> int:
        return len(self.update(key, lambda items: [*items, value], []))

    def add(self, key: str, value: Any) -> bool:
        return self.compare_and_set(key, ABSENT, value)

    def update(self, key: str, change: Callable[[Any], Any], default: Any) -> Any:
        value = change(self.get(key, default))
        self.set(key, value)
        return value

    def compare_and_set(self, key: str, expected: Any, value: Any) -> bool:
        return self.get(key, ABSENT) == expected and self.set(key, value)

    def exchange(self, key: str, value: Any) -> Any:
        found = self.get(key)
        self.set(key, value)
        return found

    def get_or_set(
        self, key: str, make: Callable[[], Any], timeout: int = 0, stale: int = 0
    ) -> Any:
        found = self.get(key)
        is_good = found and not (stale and found == "old")
        return found if is_good else self.update(key, lambda _: make(), None)

    @contextmanager
    def lock(self, name: str, wait: float) -> Iterator[GetThenSet]:
        while self.get(name):
            time.sleep(0)
        self.set(name, True)
        self.fence = self._inc("fence")
        yield self
        self.set(name, False)


class Cachelib(GetThenSet):
    """With cachelib's own `inc` and `add`, which its files inherit."""

    def _inc(self, key: str) -> int:
        # None stands for a file that another process was just replacing.
        return self._cache.inc(key) or 0

    def add(self, key: str, value: Any) -> bool:
        return self._cache.add(key, value)


def open_simple() -> GetThenSet:
    return GetThenSet(cachelib.SimpleCache(threshold=10**6, default_timeout=0))


def open_files(directory: Path) -> Cachelib:
    return Cachelib(cachelib.FileSystemCache(str(directory), threshold=0, default_timeout=0))


CONTROL_ROUNDS = 30


def controls(kind: str, directory: Path) -> Iterator[Callable[[], GetThenSet]]:
    """Chances for cachelib to go wrong: a bounded number, each with an empty cache."""
    for i in range(CONTROL_ROUNDS):
        yield open_simple if kind == "threads" else partial(open_files, directory / str(i))


def chances(settings: Mapping[str, str]) -> Iterator[Callable[[], State]]:
    """Chances for a control to go wrong: a bounded number, each with an empty directory."""
    for i in range(CONTROL_ROUNDS):
        directory = {"CACHE_DIR": f"{settings['CACHE_DIR']}/{i}"}
        yield partial(State.from_settings, {**settings, **directory})
