"""Made-up responses of servers, for tests of what judges them."""

from __future__ import annotations

from collections.abc import Iterable

from race.clients.rush import Response
from race.judging.history import History
from race.judging.verdict import Result, judge
from race.runner import Race
from race.strategies.table import STRATEGIES
from race.strategy import Judged

SECONDS = 0.01


def response(number: int | None, client: int = 0, turn: int = 0, worker: str = "1") -> Response:
    """An increment that took its client's turn-th moment; None got no response."""
    status = None if number is None else 200
    body = b"" if number is None else b"%d" % number
    error = "TimeoutError: timed out" if number is None else None
    return Response(client, turn, status, body, turn, turn + SECONDS, error, worker)


def page(body: bytes, status: int | None = 200) -> Response:
    """The first response to the first client, as it is."""
    return Response(0, 0, status, body, 0, 1)


def in_turn(numbers: Iterable[int | None], **options) -> History:
    """One increment after the other, by a client each, with these responses."""
    responses = [response(number, turn, turn) for turn, number in enumerate(numbers)]
    return History(responses, **options)


def at_once(numbers: Iterable[int | None]) -> History:
    """All increments at the same time."""
    return History([response(number, client) for client, number in enumerate(numbers)])


def by_workers(*workers: Iterable[int | None]) -> History:
    """Each worker's numbers, all at the same time."""
    return History(
        [
            response(number, worker=str(at))
            for at, numbers in enumerate(workers)
            for number in numbers
        ]
    )


def by_clients(*clients: Iterable[int | None]) -> History:
    """Each client's own numbers, in its turn."""
    return History(
        [
            response(number, client, turn)
            for client, numbers in enumerate(clients)
            for turn, number in enumerate(numbers)
        ],
        Judged.EACH,
    )


def result(strategy: str, server: str, history: History | None = None, **why: str) -> Result:
    """What comes of a race with that history."""
    return judge(Race(STRATEGIES[strategy], server, history, **why))
