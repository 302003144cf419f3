"""The ratios that the service must reach."""

from __future__ import annotations

from dataclasses import dataclass

from ..report import verdict
from .results import Results
from .servers import EMPTY, STATIC, TITLES

# What many keys must reach, of what one key must.
SHARE_OF_MANY_KEYS = 0.7


@dataclass(frozen=True)
class Demand:
    """A ratio of requests a second, on one key."""

    contestant: str
    operation: str
    connections: int
    against: str
    bound: float

    def rows(self, results: Results, keys: int) -> list[list[str]]:
        """A line of the table; none if one of the two was not measured."""
        against_operation = "nothing" if self.against in (STATIC, EMPTY) else self.operation
        found = results.find(self.contestant, self.operation, self.connections, keys)
        other = results.find(self.against, against_operation, self.connections, keys)
        if found is None or other is None:
            return []
        ratio = found.against(other)
        bound = self.bound if keys == 1 or other.operation != "nothing" else (
            self.bound * SHARE_OF_MANY_KEYS
        )  # fmt: skip
        title = f"{TITLES[self.contestant]}, {self.operation}"
        return [
            [title, str(self.connections), f"{keys:,}", TITLES[self.against].replace("*", "")]
            + [str(ratio), f"≥ {bound:.3g}", verdict(ratio.middle >= bound)]
        ]


HEADER = ["", "connections", "keys", "against", "is", "required", "met"]


def _pair(name: str, operation: str, static: float, empty: float, at: int = 32) -> list[Demand]:
    return [
        Demand(name, operation, at, STATIC, static),
        Demand(name, operation, at, EMPTY, empty),
    ]


DEMANDS = [
    *_pair("filesystem", "increment", 0.5, 1.8),
    *_pair("lmdb", "increment", 0.6, 2.0),
    *_pair("redis", "increment", 0.45, 1.6),
    *_pair("filesystem-full", "increment", 0.35, 1.1),
    *_pair("filesystem-full", "increment", 0.5, 2.0, at=256),
    *_pair("lmdb-full", "increment", 0.35, 1.1),
    *_pair("lmdb-full", "increment", 0.5, 2.0, at=256),
    *_pair("filesystem", "read", 0.6, 2.0),
    *_pair("lmdb", "read", 0.6, 2.0),
    Demand("cache-filesystem-full", "increment", 32, "cache-filesystem", 0.8),
    Demand("cache-lmdb-full", "increment", 32, "cache-lmdb", 0.8),
]


def demands(results: Results, keys: list[int]) -> list[list[str]]:
    """The lines of the table, for all that was measured."""
    return [row for number in keys for demand in DEMANDS for row in demand.rows(results, number)]
