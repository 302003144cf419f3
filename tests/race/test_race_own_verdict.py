"""What `python -m race` says of the reader's application."""

from __future__ import annotations

from race_histories import at_once, by_workers, in_turn, page

from race.clients.rush import Response
from race.judging.history import History
from race.judging.verdict import LONGER, MEANINGS, Outcome, Result, conclusion, judge
from race.reporting.terminal import reasons
from race.runner import Race
from race.strategy import Origin, Strategy

OWN = Strategy("app", "mine:app", "mine:app", origin=Origin.YOURS)
PAGE = b"<title>Shop 24</title><style>p{margin:7px}</style><p>You&#39;re visitor <b>1,234</b>.</p>"


def judged(history: History, server: str = "gunicorn-sync", **about: str) -> Result:
    return judge(Race(OWN, server, history, **about))


class TestVerdict:
    def test_nothing_wrong(self):
        """Right numbers are “nothing wrong in N requests”, with a response; no word of luck."""
        result = judged(at_once([3, 1, 2]))
        verdict = result.verdict
        assert (verdict.outcome, verdict.label) == (Outcome.NOTHING_WRONG, "nothing wrong")
        assert not verdict.breaks_promise
        assert "nothing wrong in 3 requests; a response: 200 3 (read as 3)" in verdict.why
        said = [*MEANINGS.values(), *reasons([result]), *reasons([result])["What was seen"]]
        assert not any("luck" in text or "not exact" in text for text in said)

    def test_proof_is_spoken_of_once(self):
        """That trying proves nothing is said once for all servers, with a longer run to try."""
        results = [judged(at_once([1, 2, 3]), server) for server in ("granian", "waitress")]
        said = conclusion(results)
        assert said.startswith("Nothing wrong in 6 requests under 2 servers. Trying cannot prove")
        assert LONGER in said
        assert not any("prove" in one.verdict.why for one in results)

    def test_serial(self):
        """Where nothing can race, the conclusion claims nothing."""
        result = judged(at_once([1, 2, 3]), "flask-single")
        assert result.verdict.outcome is Outcome.SERIAL
        assert conclusion([result]) == "Nothing was tried here that could go wrong."
        wrong = judged(at_once([1, 1, 2]), "flask-single")
        assert "a response: 200 1" in wrong.verdict.why
        assert conclusion([wrong]) == "It gave wrong numbers under 1 of 1 server."

    def test_always_the_same(self):
        """The same number in every response may not be the counter; it is named as it was given."""
        verdict = judged(in_turn([24] * 5, before=23)).verdict
        assert (verdict.outcome, verdict.label) == (Outcome.WRONG, "always 24")
        assert "is it the counter?" in verdict.why and "--number" in verdict.why
        assert judged(in_turn([24, 24, 25], before=23)).verdict.label == "24 given 2×"
        assert judged(at_once([7])).verdict.label == "1 skipped"

    def test_wrong(self):
        """Wrong numbers and workers apart are told, with a response."""
        apart = judged(by_workers([1, 2], [1, 2]))
        assert apart.verdict.label == "never left the worker"
        assert "2 workers each counted from 1" in apart.verdict.why
        assert "a response: 200 1" in apart.verdict.why
        assert apart.verdict.breaks_promise
        assert "same number" in judged(at_once([1, 2, 2, 4])).verdict.why
        right = judged(at_once([1, 2, 3]), "granian")
        assert conclusion([apart, right]) == "It gave wrong numbers under 1 of 2 servers."

    def test_no_numbers(self):
        """Responses without a number are shown, with what the server printed last."""
        responses = [page(b"<h1>Sign in</h1>", 302), page(b"<h1>Sign in</h1>", 302), page(b"9")]
        result = judged(History(responses), log="one\nKeyError: \x1b[1m'user'\n")
        verdict = result.verdict
        assert (verdict.outcome, verdict.label) == (Outcome.FAILED, "no numbers")
        assert verdict.why == "302 <h1>Sign in</h1>"
        assert verdict.details == ("one", "KeyError: 'user'")
        [line] = reasons([result])["What did not work"]
        assert line.endswith("\n      one\n      KeyError: 'user'")
        assert conclusion([result]) == "It gave no numbers under 1 of 1 server."

    def test_several_numbers(self):
        """Several integers in the responses are named, with what chooses one."""
        verdict = judged(History([page(b"<title>24</title>7")])).verdict
        assert "several numbers, 24, 7: choose one with --number" in verdict.why

    def test_some_without_a_number(self):
        """A few errors beside right numbers are shown too."""
        verdict = judged(
            History([*at_once([1, 2]).responses, Response(3, 0, 500, b"boom", 0, 1)]), log="Boom"
        ).verdict
        assert verdict.outcome is Outcome.NOTHING_WRONG
        assert "(1 had no number)" in verdict.why
        assert "a response without a number: 500 boom" in verdict.why
        assert verdict.details == ("Boom",)

    def test_a_failed_start(self):
        """The reason is in a line, and the last lines of the server below it."""
        log = "gunicorn ended:\n" + "x\n" * 30 + "OSError: in use\n[INFO] bye"
        verdict = judge(Race(OWN, "gunicorn-sync", failed=log)).verdict
        assert (verdict.why, verdict.details[-2:]) == (
            "OSError: in use",
            ("OSError: in use", "[INFO] bye"),
        )
        assert len(verdict.details) == 12
