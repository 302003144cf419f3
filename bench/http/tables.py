"""What a run prints, in Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import median

from ..report import duration, table
from .contestants import BATCH_SIZE
from .demands import HEADER, demands
from .results import Measurement, Results
from .servers import BEFORE, EMPTY, STATIC, TITLES

_NAMES = {"increment": "", "read": "`GET` on ", "nothing": ""}


def tables(results: Results) -> Iterator[str]:
    """A table for each number of connections, then what was demanded and what came of it."""
    keys = [*dict.fromkeys(one.keys for one in results.measurements)]
    for size in dict.fromkeys(one.connections for one in results.measurements):
        yield f"### {_counted(size, 'connection')}\n\n{_table(results, size, keys)}\n"
    if rows := demands(results, keys):
        yield f"### What it must reach\n\n{table(HEADER, rows)}\n"
    yield from _batches(results)
    yield from _before(results)


def _table(results: Results, connections: int, keys: Sequence[int]) -> str:
    header = ["", "requests/s", "p50", "p99", "slowest", "of the static response"]
    header += ["of the empty view"]
    for number in keys[1:]:
        header += [f"{number:,} keys", "of the static response"]
    rows = []
    for one in results.measurements:
        if one.connections == connections and one.keys == keys[0] and one.operation in _NAMES:
            rows.append(_row(results, one, keys))
    return table([*header, "exact"], rows)


def _row(results: Results, one: Measurement, keys: Sequence[int]) -> list[str]:
    row = [title(one), f"{median(one.rates):,.0f}"]
    row += [duration(median(times)) for times in (one.p50, one.p99, one.slowest)]
    row += [_ratio(results, one, name) for name in (STATIC, EMPTY)]
    all_cases = [one]
    for number in keys[1:]:
        many = results.find(one.contestant, one.operation, one.connections, number)
        if many is None or many is one:
            row += ["–", "–"]
            continue
        all_cases.append(many)
        row += [f"{median(many.rates):,.0f}", _ratio(results, many, STATIC)]
    return [*row, "**no**" if any(case.wrong for case in all_cases) else "yes"]


def title(one: Measurement) -> str:
    """What a reader calls it."""
    name = one.contestant.removesuffix(BEFORE)
    before = one.contestant[len(name) :]
    return _NAMES.get(one.operation, "") + TITLES[name] + before


def _ratio(results: Results, one: Measurement, to: str) -> str:
    other = results.find(to, "nothing", one.connections, one.keys)
    return "–" if other is None else str(one.against(other))


def _batches(results: Results) -> Iterator[str]:
    for one in results.measurements:
        if one.operation == "batch":
            rate = BATCH_SIZE * median(one.rates)
            yield f"{title(one)}, in batches of {BATCH_SIZE:,}: {rate:,.0f} increments a second\n"


def _before(results: Results) -> Iterator[str]:
    for other in results.measurements:
        name = other.contestant.removesuffix(BEFORE)
        if name == other.contestant:
            continue
        one = results.find(name, other.operation, other.connections, other.keys)
        if one is not None:
            yield (
                f"{TITLES[name]}, {_counted(one.connections, 'connection')}, "
                f"{_counted(one.keys, 'key')}: "
                f"{one.against(other)} of what it was before\n"
            )


def _counted(number: int, what: str) -> str:
    return f"{number:,} {what}{'s' * (number > 1)}"
