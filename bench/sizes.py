"""One process on few keys and on many: gets, sets, increments and batches of the embedded stores.

A store of each size is filled once. Each operation goes through its keys, in an order that is not
the store's, and every result is checked afterwards.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import count, cycle, islice
from statistics import median
from time import perf_counter

from .base import Place
from .contestants import CONTESTANTS, Ours
from .report import duration, table

STORES = ("filesystem", "lmdb")
SIZES = (1_000, 1_000_000)
OPERATIONS = {"get": 1, "set": 1, "inc": 1, "batch": 100}
"""How many keys each takes. A batch is one of increments."""
_FILLED_AT_ONCE = 10_000


class Sized:
    """A store with so many keys, each of which is a number, and what they stand at."""

    def __init__(self, store: Ours, size: int) -> None:
        self._cache = store.cache
        self._numbers = count(1)  # SQLite does not write a value that is already there.
        names = [f"count-{number}" for number in range(size)]
        random.Random(size).shuffle(names)
        for start in range(0, size, _FILLED_AT_ONCE):
            self._cache.set_many(dict.fromkeys(names[start : start + _FILLED_AT_ONCE], 0))
        self._stand = dict.fromkeys(names, 0)
        self._keys = cycle(names)

    def microseconds(self, operation: str, seconds: float) -> float:
        """The time of one operation; of a batch, that of one of its increments.

        :raises AssertionError: a result is wrong.
        """
        size, step = OPERATIONS[operation], getattr(self, f"_{operation}")
        done: list[tuple[list[str], list[int]]] = []
        now = began = perf_counter()
        while now < began + seconds:
            keys = [*islice(self._keys, size)]
            done.append((keys, step(keys)))
            now = perf_counter()
        for keys, results in done:
            for key, result in zip(keys, results, strict=True):
                expected = self._stand[key] + (operation in ("inc", "batch"))
                assert operation == "set" or result == expected, f"{operation}: {result}"
                self._stand[key] = result
        return (now - began) / len(done) / size * 1e6

    def _get(self, keys: list[str]) -> list[int]:
        return [self._cache.get(keys[0])]

    def _set(self, keys: list[str]) -> list[int]:
        number = next(self._numbers)
        assert self._cache.set(keys[0], number)
        return [number]

    def _inc(self, keys: list[str]) -> list[int]:
        return [self._cache.inc(keys[0])]

    def _batch(self, keys: list[str]) -> list[int]:
        batch = self._cache.batch()
        for key in keys:
            batch.inc(key)
        return batch.apply()


Times = dict[str, dict[str, list[list[float]]]]
"""By store and operation, of each round the microseconds by size."""


def measure_sizes(
    place: Place, names: Sequence[str], sizes: Sequence[int], rounds: int, seconds: float
) -> Times:
    """The times of the embedded stores among these names, in turn."""
    chosen = [name for name in STORES if name in names]
    times: Times = {name: {operation: [] for operation in OPERATIONS} for name in chosen}
    if not sizes:
        return {}
    filled = {}
    for name in chosen:
        for size in sizes:
            directory = place.directory / f"{size}-keys"
            directory.mkdir(exist_ok=True)
            store = CONTESTANTS[name](replace(place, directory=directory))
            assert isinstance(store, Ours)
            with store:
                filled[name, size] = store, Sized(store, size)
    for _ in range(rounds):
        for name in chosen:
            for operation in OPERATIONS:
                row = []
                for size in sizes:
                    store, sized = filled[name, size]
                    with store:
                        row.append(sized.microseconds(operation, seconds))
                times[name][operation].append(row)
    return times


def print_sizes(times: Times, sizes: Sequence[int]) -> None:
    """A table: an operation's time at each size, and the last over the first."""
    header = ["", *(f"{size:,} keys" for size in sizes), "last over first", "least–most"]
    print(f"### Few keys and many, one process\n\n{table(header, [*_rows(times)])}\n")


def _rows(times: Times) -> Iterator[list[str]]:
    for name, operations in times.items():
        for operation, rounds in operations.items():
            ratios = [row[-1] / row[0] for row in rounds]
            middle = [duration(median(column)) for column in zip(*rounds, strict=True)]
            spread = f"{min(ratios):.2f}–{max(ratios):.2f}"
            yield [f"**{name}** {operation}", *middle, f"{median(ratios):.2f}", spread]
