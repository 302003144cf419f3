"""Results as plain data, for JSON and for the page."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from itertools import groupby
from typing import Any

from ..judging.findings import times_given
from ..judging.history import History
from ..judging.verdict import MEANINGS, Result, conclusion
from ..runner import Load
from ..servers.recipes import recipe_of
from ..strategy import Judged

PACKAGES = (
    "Flask", "Werkzeug", "gunicorn", "gevent", "granian", "waitress", "Flask-Caching", "cachelib",
    "Flask-Session", "SQLAlchemy", "diskcache", "redis", "lmdb",
)  # fmt: skip


def as_data(results: Sequence[Result], load: Load) -> dict[str, Any]:
    """All results as JSON can hold them."""
    strategies = {result.race.strategy.name: result.race.strategy for result in results}
    servers = dict.fromkeys(result.race.server for result in results)
    return {
        "about": surroundings(),
        "load": asdict(load),
        "outcomes": {one.name.lower(): [one.value, text] for one, text in MEANINGS.items()},
        "servers": {name: recipe_of(name).title for name in servers},
        "strategies": {
            name: {
                "title": one.title,
                "origin": one.origin.name.lower(),
                "judged": one.judged.value,
            }
            for name, one in strategies.items()
        },
        "conclusion": conclusion(results),
        "races": [race_as_data(result) for result in results],
    }


def race_as_data(result: Result) -> dict[str, Any]:
    """One race: the verdict and the figures."""
    verdict = result.verdict
    return {
        "strategy": result.race.strategy.name,
        "server": result.race.server,
        "outcome": verdict.outcome.name.lower(),
        "label": verdict.label,
        "why": verdict.why,
        "details": list(verdict.details),
        "breaks_promise": verdict.breaks_promise,
        "figures": asdict(result.findings) if result.findings else None,
    }


def surroundings() -> dict[str, Any]:
    """When, on what machine and with which versions."""
    return {
        "time": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "machine": f"{platform.system()} on {platform.machine()}, {_cores()} cores",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "versions": [f"{name} {found}" for name in PACKAGES if (found := _version(name))],
    }


def numbers_of(history: History) -> str:
    """How often each number was given, from 1 on, in runs: ``"3x1 0 2"`` is 1 1 1 0 2.

    Where each client counts for itself: how many of each client's responses were wrong.
    """
    return runs(wrong_numbers(history) if history.judged is Judged.EACH else _times(history))


def wrong_numbers(history: History) -> list[int]:
    """How many of each client's responses are not the next number of its own."""
    return [
        sum(increment.number not in (None, turn) for turn, increment in enumerate(sequence, 1))
        for sequence in history.sequences
    ]


def runs(numbers: Iterable[int]) -> str:
    """Numbers as text, with those that repeat counted."""
    counted = [(number, len(list(group))) for number, group in groupby(numbers)]
    return " ".join(f"{n}x{number}" if n > 1 else str(number) for number, n in counted)


def _times(history: History) -> list[int]:
    [sequence] = history.sequences
    return times_given(sequence)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
