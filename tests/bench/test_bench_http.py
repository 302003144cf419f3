"""The load generator of `bench.http`, and what judges the responses that it kept."""

from __future__ import annotations

import shutil
import socketserver
import threading
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count

import pytest

from bench.http.checks import faults, inexact
from bench.http.contestants import SERVICE, Running, counter, increments
from bench.http.demands import Demand
from bench.http.load import Fault, Load, Plan, Responses, request
from bench.http.results import Measurement, Results

Respond = Callable[[str], tuple[int, str]]


@contextmanager
def server(respond: Respond) -> Iterator[int]:
    """The port of a server that gives each path the status and body of `respond`."""

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            while line := self.rfile.readline():
                while self.rfile.readline() != b"\r\n":
                    pass
                status, body = respond(line.split()[1].decode())
                if not status:
                    return
                head = f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\n\r\n"
                self.wfile.write((head + body).encode())

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as listening:
        listening.daemon_threads = True
        thread = threading.Thread(target=listening.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield listening.server_address[1]
        finally:
            listening.shutdown()
            thread.join()


@pytest.fixture(scope="module")
def load(tmp_path_factory: pytest.TempPathFactory) -> Load:
    if shutil.which("cc") is None:
        pytest.skip("needs a C compiler")
    return Load(tmp_path_factory.mktemp("load"))


class Counters:
    """Counts as the service does, and responses as `SERVICE` expects."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._numbers: dict[str, Iterator[int]] = {}

    def __call__(self, path: str) -> tuple[int, str]:
        name = path.rpartition("/")[2]
        with self._lock:
            number = next(self._numbers.setdefault(name, count(1)))
        return 200, f'{{"key":"{name}","value":{number}}}'


@pytest.mark.parametrize("keys", [1, 7])
def test_exact_counters_are_found_exact(load: Load, keys: int) -> None:
    """Every number of an exact server is kept, with nothing to complain of."""
    with server(Counters()) as port:
        responses = load.run(port, 4, 60, increments(SERVICE)(keys), 100)
    stand: dict[int, int] = {}
    assert (faults(responses), inexact(responses, stand)) == ([], [])
    assert sum(stand.values()) == len(responses.keys) == 100
    assert set(responses.connections) == {0, 1, 2, 3}


def test_a_number_given_twice_is_found(load: Load) -> None:
    """A server that responses the same number to everybody is not exact."""
    with server(lambda path: (200, f'{{"key":"{counter(0)}","value":1}}')) as port:
        responses = load.run(port, 2, 60, increments(SERVICE)(1), 10)
    assert "key 0: 1 given twice" in inexact(responses, {})


@pytest.mark.parametrize(
    ("status", "body", "fault"),
    [
        (503, '{"key":"count-x","value":1}', "refused"),
        (200, '{"key":"count-other","value":1}', "other"),
        (200, '{"key":"count-x"}', "other"),
        (0, "", "broken"),
    ],
)
def test_a_wrong_response_is_named(load: Load, status: int, body: str, fault: str) -> None:
    """What is refused, belongs to another request or breaks off is counted by its kind."""
    plan = Plan([request("POST", "/x", '"key":"count-x"')], b'"value":')
    with server(lambda path: (status, body)) as port:
        responses = load.run(port, 1, 60, plan, 1)
    assert faults(responses)[0] == f"1 {fault}"
    assert inexact(responses, {}) == []


def test_a_counter_that_lost_an_increment_is_found(load: Load) -> None:
    """What a server says at the end is compared with what it has sent."""
    with server(lambda path: (200, f'{{"key":"{counter(0)}","value":41,"ttl":null}}')) as port:
        assert Running("exact", port, SERVICE, {0: 41}).wrong(load) == []
        assert Running("lost one", port, SERVICE, {0: 42}).wrong(load)[0] == "1 other"


def given(numbers: Sequence[int], times: Sequence[tuple[int, int]] | None = None) -> Responses:
    """The responses of one key, each asked for when the one before was there."""
    size = len(numbers)
    times = times or [(2 * place, 2 * place + 1) for place in range(size)]
    return Responses(
        connections=array("q", [0] * size),
        keys=array("q", [0] * size),
        numbers=array("q", numbers),
        faults=array("q", [Fault.NONE] * size),
        began=array("q", [began for began, _ in times]),
        ended=array("q", [ended for _, ended in times]),
    )


@pytest.mark.parametrize(
    ("numbers", "before", "step", "wrong"),
    [
        ([6, 7, 8], 5, 1, []),
        ([1005, 2005], 5, 1000, []),
        ([6, 6, 7], 5, 1, ["key 0: 1 given twice", "key 0: 1 never given"]),
        ([6, 8, 7], 5, 1, ["key 0: 2 not in the order of time"]),
        ([1, 2, 3], 5, 1, ["key 0: 3 never given"]),
        ([1005, 1505], 5, 1000, ["key 0: 1 in between", "key 0: 1 never given"]),
    ],
)
def test_numbers_are_judged(numbers: list[int], before: int, step: int, wrong: list[str]) -> None:
    """Each number after those before, once, in the order of time."""
    stand = {0: before}
    found = inexact(given(numbers), stand, step)
    assert set(wrong) <= set(found)
    assert bool(wrong) == bool(found)
    assert stand == {0: before + step * len(numbers)}


def test_responses_at_the_same_time_may_come_in_any_order() -> None:
    """Only a response that was there before another was asked for has to be smaller."""
    assert inexact(given([2, 1], [(0, 10), (1, 9)]), {}) == []


def test_ratios_are_those_of_the_rounds() -> None:
    """A ratio is the median of the rounds' own ratios, with the least and the most."""
    ours = Measurement("filesystem", "increment", 32, 1, rates=[50.0, 30.0, 90.0])
    limit = Measurement("static", "nothing", 32, 1, rates=[100.0, 100.0, 100.0])
    assert str(ours.against(limit)) == "0.50 (0.30–0.90)"
    results = Results.from_plain(Results([ours, limit]).plain())
    row = Demand("filesystem", "increment", 32, "static", 0.51).rows(results, 1)[0]
    assert row[-3:] == ["0.50 (0.30–0.90)", "≥ 0.51", "**no**"]
    assert Demand("lmdb", "increment", 32, "static", 0.5).rows(results, 1) == []
