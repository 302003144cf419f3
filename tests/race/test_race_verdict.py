"""A verdict says what a race has shown, never more."""

from __future__ import annotations

import pytest
from race_histories import at_once, by_clients, by_workers, in_turn, result

from race.judging.verdict import Outcome, judge, last_error, limits, weakness
from race.runner import Race
from race.servers.recipes import SERVERS
from race.servers.scope import Scope
from race.strategies.table import STRATEGIES
from race.strategy import Origin, Strategy

RIGHT = at_once([3, 1, 2])
WRONG = at_once([1, 2, 2, 4])
OWN = Strategy("app", "mine:app", "mine:app", origin=Origin.YOURS)


def test_exact():
    """Right numbers of something that is exact are exact."""
    for name in ("ours-lmdb", "diskcache", "inc-redis"):
        verdict = result(name, "gunicorn-sync", RIGHT).verdict
        assert (verdict.outcome, verdict.label) == (Outcome.EXACT, "exact")


@pytest.mark.parametrize(
    ("strategy", "server", "why"),
    [
        ("global", "flask-threaded", "interrupted"),
        ("get-set-redis", "gunicorn-sync", "before either has written"),
        ("value", "granian", "forked after it was made"),
        ("global-lock", "gunicorn-sync", "memory of one process"),
        ("manager-no-lock", "flask-processes", "before either has written"),
    ],
)
def test_right_numbers_are_no_safety(strategy, server, why):
    """Right numbers of something that can go wrong there prove nothing; the verdict says why."""
    verdict = result(strategy, server, RIGHT).verdict
    assert verdict.outcome is Outcome.NOT_CAUGHT
    assert "not caught in 3 requests" in verdict.why
    assert why in verdict.why


@pytest.mark.parametrize("strategy", ["global", "get-set-files", "ours-filesystem"])
def test_a_server_that_cannot_race(strategy):
    """One worker with one thread proves nothing, for nobody."""
    verdict = result(strategy, "flask-single", RIGHT).verdict
    assert verdict.outcome is Outcome.SERIAL
    assert "nothing can race" in verdict.why


@pytest.mark.parametrize(
    ("strategy", "history", "label"),
    [
        ("get-set-files", WRONG, "1 twice, 1 skipped"),
        ("get-set-files", in_turn([2, 1, 3]), "2 out of order"),
        ("global", by_workers([1, 2], [1, 2]), "never left the worker"),
        ("g", by_clients([1, 1, 1], [1, 1, 1]), "always 1"),
        ("cookie-parallel", at_once([1, 2, 2, 2]), "always 2"),
        ("session-redis-parallel", at_once([1, 2, 2, 2]), "2 given 3×"),
        ("session-redis", by_clients([1, 2, 3], [1, 1, 2]), "1 of 2 clients wrong"),
        ("dict-by-session", by_clients([1, 2, 3], [1, 1, 2]), "never left the worker"),
        # Lost updates may look like workers apart; what is known of the strategy decides.
        ("sql-object", by_workers([1, 2], [1, 2]), "2 twice, 2 skipped"),
    ],
)
def test_wrong(strategy, history, label):
    """What is wrong stands in the cell, and the reason beside it."""
    verdict = result(strategy, "gunicorn-sync", history).verdict
    assert (verdict.outcome, verdict.label) == (Outcome.WRONG, label)
    assert verdict.why
    assert not verdict.breaks_promise


def test_wrong_where_nothing_can_race():
    """A race is no reason for wrong numbers of a server that has none."""
    verdict = result("get-set-files", "flask-single", WRONG).verdict
    assert verdict.outcome is Outcome.WRONG
    assert verdict.why == "this should have been exact under flask run --without-threads"


def test_promises():
    """Ours and the reader's own have to be exact; ours only where its store reaches."""
    assert result("ours-redis", "gunicorn-sync", WRONG).verdict.breaks_promise
    assert result("ours-simple", "flask-threaded", WRONG).verdict.breaks_promise
    assert not result("ours-simple", "gunicorn-sync", WRONG).verdict.breaks_promise
    assert not result("inc-redis", "gunicorn-sync", WRONG).verdict.breaks_promise
    assert judge(Race(OWN, "gunicorn-sync", WRONG)).verdict.breaks_promise


def test_no_numbers():
    """A race in which most requests got no number shows nothing, and breaks a promise."""
    verdict = result("ours-lmdb", "granian", at_once([1, None, None])).verdict
    assert (verdict.outcome, verdict.label) == (Outcome.FAILED, "no numbers")
    assert verdict.why == "TimeoutError: timed out"
    assert verdict.breaks_promise
    race = Race(STRATEGIES["ours-lmdb"], "granian", at_once([None]), log="one\nOSError: no room\n")
    verdict = judge(race).verdict
    assert (verdict.why, verdict.details) == ("TimeoutError: timed out; OSError: no room", ())


def test_some_without_number():
    """An exact race says how many requests were left without a response."""
    verdict = result("ours-lmdb", "granian", at_once([1, 3, None])).verdict
    assert verdict.outcome is Outcome.EXACT
    assert verdict.label == "exact, 1 unknown"
    assert "1 had no number" in verdict.why


def test_a_failed_start():
    """What the server said last is the reason."""
    log = "gunicorn-sync ended with status 3:\nTraceback\n  line\nOSError: in use\n[INFO] bye"
    race = Race(STRATEGIES["ours-lmdb"], "gunicorn-sync", failed=log)
    verdict = judge(race).verdict
    assert (verdict.outcome, verdict.why) == (Outcome.FAILED, "OSError: in use")
    assert verdict.breaks_promise
    assert last_error("") == "no reason given"
    assert last_error("one\ntwo\n") == "two"


def test_skipped():
    """What is missing is named, and breaks no promise."""
    verdict = result("ours-redis", "uwsgi", skipped="uwsgi is not installed").verdict
    assert (verdict.outcome, verdict.why) == (Outcome.SKIPPED, "uwsgi is not installed")
    assert not verdict.breaks_promise


def test_every_racy_strategy_has_its_reason():
    """Each strategy is exact everywhere, or says why not; ours has no flaw at all."""
    exact = {name for name, strategy in STRATEGIES.items() if not limits(strategy)}
    assert exact >= {name for name in STRATEGIES if name.startswith("ours-")} - {"ours-simple"}
    assert exact - {name for name in exact if name.startswith("ours-")} == {
        "cookie", "session-files", "session-redis", "manager-address", "sql-update", "inc-redis",
        "diskcache",
    }  # fmt: skip
    assert not any(one.flaw for one in STRATEGIES.values() if one.origin is Origin.OURS)


@pytest.mark.parametrize("scope", Scope)
def test_scopes(scope):
    """A strategy reaches as far as the server's workers are apart, or has a weakness there."""
    strategy = Strategy("made-up", "made up", "x:y", scope)
    weak = {name for name, recipe in SERVERS.items() if weakness(strategy, recipe)}
    forked = {"flask-processes", "gunicorn-preload", "uwsgi"}
    threads = {"flask-single", "flask-threaded", "waitress"}
    assert (
        weak
        == {
            Scope.REQUEST: set(SERVERS),
            Scope.PROCESS: set(SERVERS) - threads,
            Scope.FORK: set(SERVERS) - threads - forked,
            Scope.HOST: set(),
        }[scope]
    )
