"""What was measured, and the ratios of it; to and from JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any, NamedTuple

from .load import Responses


class Ratio(NamedTuple):
    """The median of the ratios of the rounds, the smallest and the largest."""

    middle: float
    least: float
    most: float

    def __str__(self) -> str:
        return f"{self.middle:.2f} ({self.least:.2f}–{self.most:.2f})"


@dataclass
class Measurement:
    """One contestant in one case, round by round; times in microseconds."""

    contestant: str
    operation: str
    connections: int
    keys: int
    rates: list[float] = field(default_factory=list)
    """Responses a second."""
    p50: list[float] = field(default_factory=list)
    p99: list[float] = field(default_factory=list)
    slowest: list[float] = field(default_factory=list)
    responses: int = 0
    wrong: list[str] = field(default_factory=list)
    """What was not exact, of all rounds."""

    def add(self, responses: Responses, wrong: Sequence[str]) -> None:
        """Take in a round."""
        times = sorted(
            ended - began for began, ended in zip(responses.began, responses.ended, strict=True)
        )
        self.responses += len(times)
        self.rates.append(len(times) / responses.seconds)
        self.p50.append(times[len(times) // 2] / 1000)
        self.p99.append(times[len(times) * 99 // 100] / 1000)
        self.slowest.append(times[-1] / 1000)
        self.wrong += wrong

    def against(self, other: Measurement) -> Ratio:
        """The ratios of its rates to those of another one, round by round."""
        ratios = [a / b for a, b in zip(self.rates, other.rates, strict=True)]
        return Ratio(median(ratios), min(ratios), max(ratios))


@dataclass(frozen=True)
class Results:
    """All that was measured in one run."""

    measurements: Sequence[Measurement]

    def find(
        self, contestant: str, operation: str, connections: int, keys: int
    ) -> Measurement | None:
        """What was measured of a contestant; None if it was not.

        One that does nothing does it whatever the number of keys.
        """
        for one in self.measurements:
            if (one.contestant, one.operation, one.connections) == (
                contestant,
                operation,
                connections,
            ) and (one.keys == keys or operation == "nothing"):
                return one
        return None

    def of(self, contestant: str, operation: str) -> Measurement:
        """The first that was measured of a contestant."""
        return next(
            one
            for one in self.measurements
            if (one.contestant, one.operation) == (contestant, operation)
        )

    def plain(self) -> list[dict[str, Any]]:
        return [asdict(one) for one in self.measurements]

    @classmethod
    def from_plain(cls, measurements: Sequence[Mapping[str, Any]]) -> Results:
        return cls([Measurement(**one) for one in measurements])
