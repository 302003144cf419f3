"""The promise: 100 clients at once get the numbers 1 to n, under every server, on every store.

Two detectors, as a final total alone misses lost updates: all the responses, and the counter after.
"""

from __future__ import annotations

import json
import uuid
from pathlib import Path

import pytest
from backends import give_up
from served import SECONDS

from race.clients.rush import Response, rush
from race.judging.checkers import (
    Increment,
    duplicates,
    exactly_one_to,
    gaps,
    out_of_bounds,
    real_time_violations,
)
from race.servers.serve import Server, missing, serve

pytestmark = pytest.mark.slow

TESTS = Path(__file__).parents[1]
CLIENTS = 100
ROUNDS = 3
# A process for each request: fewer of those, which wait for each other as well.
FORKED_ROUNDS = 1
CONTROL_TRIES = 10
COUNTER = "/v1/counters/hits"

# Each server, with stores under several processes and under threads; `make race` has them all.
PLACES = (
    ("flask-threaded", "lmdb"),
    ("flask-processes", "filesystem"),
    ("gunicorn-sync", "lmdb"),
    ("gunicorn-gthread", "filesystem"),
    ("gunicorn-gevent", "redis"),
    ("granian", "filesystem"),
    ("waitress", "lmdb"),
)


def need(server: str) -> None:
    """In CI a missing server is a failure, elsewhere a skip."""
    if package := missing(server):
        give_up(f"{server} needs: pip install {package}")


def count(server: Server, rounds: int = ROUNDS) -> list[Increment]:
    """The increments of all clients. Each response is 200."""
    responses = rush(
        server.host, server.port, "POST", COUNTER, clients=CLIENTS, rounds=rounds, timeout=SECONDS
    )
    failed = [response for response in responses if response.status != 200]
    assert not failed, f"{len(failed)} failed, as {failed[0]}\n{server.log()}"
    return [Increment(number(each), each.started, each.ended) for each in responses]


def total(server: Server) -> int:
    [response] = rush(server.host, server.port, "GET", COUNTER, clients=1, rounds=1)
    assert response.status == 200, f"{response}\n{server.log()}"
    return number(response)


def number(response: Response) -> int:
    body = json.loads(response.body)
    assert body["key"] == "hits"
    return body["value"]


@pytest.fixture
def env(store: str, request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, str]:
    """The settings of an empty store, as environment variables."""
    settings = {
        "FLASK_CACHE_TYPE": store,
        "FLASK_CACHE_KEY_PREFIX": f"acceptance-{uuid.uuid4()}:",
    }
    if store == "redis":
        return settings | {"FLASK_CACHE_REDIS_URL": request.getfixturevalue("redis_url")}
    return settings | {"FLASK_CACHE_DIR": str(tmp_path)}


@pytest.mark.parametrize("name, store", PLACES)
def test_numbers_are_exact(name: str, env: dict[str, str]) -> None:
    """Every number from 1 to n is given once, in the order of real time, and n is the total."""
    need(name)
    rounds = FORKED_ROUNDS if name == "flask-processes" else ROUNDS
    n = CLIENTS * rounds
    with serve(name, "app:create_app()", env=env, cwd=TESTS.parent, timeout=SECONDS) as server:
        increments = count(server, rounds)
        numbers = [increment.number for increment in increments]
        assert duplicates(numbers) == []
        assert gaps(numbers, n) == []
        assert exactly_one_to(numbers, n)
        assert real_time_violations(increments) == []
        assert out_of_bounds(increments) == []
        assert total(server) == n


def test_get_then_set_is_not_exact(tmp_path: Path) -> None:
    """The same requests at the usual get-then-set fail every check: the checks do see a race."""
    need("gunicorn-sync")
    settings = {"FLASK_CACHE_TYPE": "FileSystemCache", "FLASK_CACHE_DIR": str(tmp_path)}
    with serve(
        "gunicorn-sync", "racy:create_app()", env=settings, cwd=TESTS / "apps", timeout=SECONDS
    ) as server:
        increments: list[Increment] = []
        for _ in range(CONTROL_TRIES):
            increments += count(server)
            numbers, n = [increment.number for increment in increments], len(increments)
            if real_time_violations(increments) and out_of_bounds(increments):
                break
        assert duplicates(numbers)
        assert gaps(numbers, n)
        assert not exactly_one_to(numbers, n)
        assert real_time_violations(increments)
        assert out_of_bounds(increments)
        assert total(server) < n
