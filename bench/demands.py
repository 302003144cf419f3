"""The ratios that the stores must reach."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from .figures import Result
from .report import verdict


@dataclass(frozen=True)
class Demand:
    """A figure of one contestant, over that of another one if it names one."""

    what: str
    phase: str
    figure: str
    contestant: str
    against: str | None
    bound: float
    at_most: bool = False

    def row(self, results: Mapping[str, Mapping[str, Result]]) -> list[str] | None:
        """A line of the table, or None if one of the two did not run."""
        phase = results[self.phase]
        if self.contestant not in phase or (self.against and self.against not in phase):
            return None
        value = getattr(phase[self.contestant].middle, self.figure)
        if self.against:
            value /= getattr(phase[self.against].middle, self.figure)
        met = value <= self.bound if self.at_most else value >= self.bound
        required = f"{'≤' if self.at_most else '≥'} {self.bound:g}"
        return [self.what, self.against or "–", f"{value:.2f}", required, verdict(met)]


_TOGETHER = "8 processes on one key"

DEMANDS = (
    Demand("filesystem, alone", "alone", "rate", "filesystem", "diskcache", 1.3),
    Demand(f"filesystem, {_TOGETHER}", "together", "rate", "filesystem", "diskcache", 1.2),
    Demand("… its slowest operation", "together", "slowest", "filesystem", "diskcache", 0.15, True),
    Demand("… its fairness", "together", "fairness", "filesystem", None, 0.5),
    Demand("lmdb, alone", "alone", "rate", "lmdb", "diskcache", 4),
    Demand(f"lmdb, {_TOGETHER}", "together", "rate", "lmdb", "diskcache", 6),
    Demand("redis, alone", "alone", "rate", "redis", "redis-py", 0.85),
    Demand(f"redis, {_TOGETHER}", "together", "rate", "redis", "redis-py", 0.85),
)


def demands(results: Mapping[str, Mapping[str, Result]]) -> list[list[str]]:
    """The lines of the table for all contestants that ran."""
    rows = (demand.row(results) for demand in DEMANDS)
    return [row for row in rows if row is not None]
