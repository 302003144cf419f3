"""Responses become histories, and findings name what is wrong with them, and only that."""

from __future__ import annotations

import pytest
from race_histories import at_once, by_clients, by_workers, in_turn, response

from race.clients.numbers import number_in
from race.clients.rush import Response
from race.judging.findings import find, percentile, times_given
from race.judging.history import History
from race.reporting.report import numbers_of, runs
from race.strategy import Judged


class TestNumbers:
    @pytest.mark.parametrize(
        ("body", "number"),
        [
            (b"7", 7),
            (b"7\n", 7),
            (b'{"value": 7}', 7),
            (b'{"key": "hits2", "value": 7, "ttl": null, "new": true}', 7),
            (b"You are visitor 7!", 7),
            (b"<h1>You are visitor 7</h1>", 7),
            (b'{"value": "seven"}', None),
            (b'{"first": 1, "second": 2}', None),
            (b"true", None),
            (b"1.5", None),
            (b"none", None),
            (b"", None),
        ],
    )
    def test_in_a_body(self, body, number):
        """The response, the only integer in an object, or the only one in a text; never a guess."""
        assert number_in(Response(0, 0, 200, body, 0, 1)) == number

    @pytest.mark.parametrize("status", [None, 302, 404, 500])
    def test_of_an_error(self, status):
        """An error has no number, whatever digits are in its text."""
        assert number_in(Response(0, 0, status, b"error 7", 0, 1)) is None


class TestHistory:
    def test_all_together(self):
        """All increments are one sequence, unless each client is judged by itself."""
        responses = [response(1, 0), response(2, 1), response(3, 0)]
        [sequence] = History(responses).sequences
        assert [increment.number for increment in sequence] == [1, 2, 3]
        first, second = History(responses, Judged.EACH).sequences
        assert [increment.number for increment in first] == [1, 3]
        assert [increment.number for increment in second] == [2]

    def test_a_counter_in_use(self):
        """A counter that was not at zero is judged from where it stood."""
        assert find(in_turn([42, 43, 44], before=41)).exact
        assert not find(in_turn([42, 43, 44])).exact

    def test_times(self):
        """Responses without a number have no latency; the time goes from first to last."""
        history = in_turn([1, None, 2])
        assert history.latencies == pytest.approx([0.01, 0.01])
        assert history.seconds == pytest.approx(2.01)


GOOD = {
    "in turn": in_turn([1, 2, 3]),
    "at once, in any order": at_once([3, 1, 2]),
    "no response, and not counted": in_turn([1, None, 2]),
    "no response, and counted": in_turn([1, None, 3]),
    "each client by itself": by_clients([1, 2, 3], [1, 2, 3]),
    "a client without a response": by_clients([1, None, 3], [1, 2, 3]),
    "two workers, one counter": by_workers([1, 4], [2, 3]),
    "nothing": in_turn([]),
}

BAD = {
    "twice": (at_once([1, 2, 2]), {"twice": 1, "skipped": 1}),
    "twice, with the right total": (at_once([1, 2, 2, 4]), {"twice": 1, "skipped": 1}),
    "skipped": (at_once([1, 2, 4]), {"twice": 0, "skipped": 1}),
    "three times": (at_once([1, 1, 1]), {"twice": 1, "skipped": 2}),
    "not from one": (at_once([2, 3, 4]), {"twice": 0, "skipped": 1}),
    "out of order": (in_turn([2, 1, 3]), {"twice": 0, "skipped": 0, "disordered": 2}),
    "a loss beside a request without a response": (at_once([1, 2, 2, None]), {"twice": 1}),
    "two losses, one request without a response": (
        at_once([1, 4, 4, None]),
        {"twice": 1, "skipped": 1, "unknown": 1},
    ),
    "a client that does not count on": (
        by_clients([1, 2, 3], [1, 1, 2]),
        {"twice": 1, "skipped": 1, "wrong": 1, "counters": 2},
    ),
    "a client that is given another's numbers": (
        by_clients([1, 2, 3], [4, 5, 6]),
        {"wrong": 1, "skipped": 3},
    ),
}


class TestFindings:
    @pytest.mark.parametrize("history", GOOD.values(), ids=GOOD)
    def test_good(self, history):
        """Histories that an exact counter can give have no findings."""
        found = find(history)
        assert found.exact
        assert (found.twice, found.skipped, found.disordered, found.separate) == (0, 0, 0, 0)

    @pytest.mark.parametrize(("history", "expected"), BAD.values(), ids=BAD)
    def test_bad(self, history, expected):
        """What an exact counter cannot give is found, and counted."""
        found = find(history)
        assert not found.exact
        assert {name: getattr(found, name) for name in expected} == expected

    def test_separate_workers(self):
        """Workers that each count from one are told from workers that lose updates."""
        assert find(by_workers([1, 2, 3], [1, 2])).separate == 2
        assert find(by_workers([1, 2, 4], [1, 3])).separate == 0
        assert find(by_workers([1, 2, 2, 3], [1, 2, 2])).separate == 0
        assert find(by_workers([1, 2, 3])).separate == 0
        assert find(by_workers([1, 3, None], [1, 2])).separate == 2
        assert find(by_workers([1, 2], [1, 2], [None])).separate == 2

    def test_a_smaller_number_later(self):
        """An increment with less than one before it is found, though both are in bounds."""
        times = {1: (0, 10), 4: (0, 10), 3: (1, 2), 2: (3, 4)}
        responses = [Response(0, 0, 200, b"%d" % number, *time) for number, time in times.items()]
        found = find(History(responses))
        assert (found.exact, found.disordered, found.twice, found.skipped) == (False, 1, 0, 0)

    def test_clients_are_no_workers_apart(self):
        """Where each client has a counter, every worker that has one client counts from one."""
        responses = [
            response(turn, client, turn, str(client)) for client in (0, 1) for turn in (1, 2)
        ]
        assert find(History(responses, Judged.EACH)).separate == 0
        assert find(History(responses)).separate == 2

    def test_commonest(self):
        """The number that was given most often, of each client where each has its own."""
        assert find(at_once([2, 2, 2, 1])).commonest == (2, 3)
        assert find(by_clients([1, 1, 1], [1, 1, 2])).commonest == (1, 5)

    def test_speed(self):
        """Requests a second are those with a response; the slowest hundredth is beyond p99."""
        found = find(in_turn([1, None, 2]))
        assert found.rate == pytest.approx(2 / 2.01)
        assert found.unknown == 1
        assert percentile(range(1000), 0.99) == 990
        assert percentile([7], 0.99) == 7
        assert percentile([], 0.99) == 0


class TestGrid:
    def test_times_given(self):
        """How often each number was given that should have been."""
        [sequence] = at_once([1, 2, 2, 7]).sequences
        assert times_given(sequence) == [1, 2, 0, 0]

    def test_numbers_of(self):
        """Numbers that repeat are counted; where clients count, it is their wrong responses."""
        assert runs([1, 1, 1, 0, 2]) == "3x1 0 2"
        assert runs([]) == ""
        assert numbers_of(at_once([1, 2, 2, 7])) == "1 2 2x0"
        assert numbers_of(by_clients([1, 2, 3], [1, None, 4], [1, 1, 1])) == "0 1 2"
