"""What all clients of a race were given, as the checkers take it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter

from ..clients.numbers import Reader, number_in
from ..clients.rush import Response
from ..strategy import Judged
from .checkers import Increment


@dataclass(frozen=True)
class History:
    """Every response of a race, with its times.

    :param judged: whose numbers have to be 1, 2, 3, …
    :param before: the number that the counter stood at before; the judged ones follow it.
    :param read: what reads the number of a response.
    """

    responses: Sequence[Response]
    judged: Judged = Judged.ALL
    before: int = 0
    read: Reader = number_in

    @property
    def sequences(self) -> list[list[Increment]]:
        """The increments, in as many groups as there are counters; each counts from 1."""
        if self.judged is not Judged.EACH:
            return [self._increments(self.responses)]
        return [self._increments(group) for group in _grouped(self.responses, "client")]

    @property
    def workers(self) -> list[list[int]]:
        """The numbers that each worker gave out, as far as workers are known."""
        known = [response for response in self.responses if response.worker is not None]
        groups = [self._increments(group) for group in _grouped(known, "worker")]
        return [[one.number for one in group if one.number is not None] for group in groups]

    @property
    def latencies(self) -> list[float]:
        """How many seconds the requests took that got a number, the shortest first."""
        done = (response for response in self.responses if self.read(response) is not None)
        return sorted(response.ended - response.started for response in done)

    @property
    def seconds(self) -> float:
        """From the first request to the last response."""
        starts = [response.started for response in self.responses]
        ends = [response.ended for response in self.responses]
        return max(ends) - min(starts) if starts else 0.0

    def _increments(self, responses: Iterable[Response]) -> list[Increment]:
        return [
            Increment(
                None if number is None else number - self.before, response.started, response.ended
            )
            for response, number in ((response, self.read(response)) for response in responses)
        ]


def _grouped(responses: Iterable[Response], attribute: str) -> list[list[Response]]:
    key = attrgetter(attribute)
    return [list(group) for _, group in groupby(sorted(responses, key=key), key)]
