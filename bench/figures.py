"""What the samples of a round say, and the median of several rounds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median

from .workers import Sample


@dataclass(frozen=True)
class Figures:
    """One contestant in one round. Times are in microseconds."""

    rate: float
    """Operations a second, of all processes."""
    p50: float
    p99: float
    slowest: float
    fairness: float
    """The count of the slowest process over that of the fastest."""
    numbers: int
    """How many numbers increments returned; 0 for other operations."""
    duplicates: int
    """How many of them had been returned before."""
    gaps: int
    """How many of 1 … numbers were never returned."""

    @property
    def exact(self) -> bool:
        return not self.duplicates and not self.gaps


def figures(samples: Sequence[Sample]) -> Figures:
    """What the samples of all processes of one round say."""
    counts = [len(sample.stamps) - 1 for sample in samples]
    times = sorted(
        after - before
        for sample in samples
        for before, after in zip(sample.stamps, sample.stamps[1:], strict=False)
    )
    numbers = [number for sample in samples for number in sample.numbers]
    distinct = set(numbers)
    return Figures(
        rate=sum(map(_rate, samples)),
        p50=times[len(times) // 2] / 1000,
        p99=times[len(times) * 99 // 100] / 1000,
        slowest=times[-1] / 1000,
        fairness=min(counts) / max(counts),
        numbers=len(numbers),
        duplicates=len(numbers) - len(distinct),
        gaps=len(set(range(1, len(numbers) + 1)) - distinct),
    )


def _rate(sample: Sample) -> float:
    return (len(sample.stamps) - 1) / (sample.stamps[-1] - sample.stamps[0]) * 1e9


@dataclass(frozen=True)
class Result:
    """One contestant in all rounds."""

    middle: Figures
    """The median of each figure; of `numbers`, `duplicates` and `gaps` the sum."""
    worst: float
    """The slowest operation of all rounds, in microseconds."""


def result(rounds: Sequence[Figures]) -> Result:
    """The rounds of one contestant in short."""
    rows = [asdict(figures) for figures in rounds]
    totals = ("numbers", "duplicates", "gaps")
    middle = {
        name: (sum if name in totals else median)([row[name] for row in rows]) for name in rows[0]
    }
    return Result(Figures(**middle), max(figures.slowest for figures in rounds))
