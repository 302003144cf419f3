"""What the findings of a race mean, given what is known of the strategy and the server."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum

from .. import own
from ..clients.numbers import printable
from ..runner import LOG_LINES, Race
from ..servers.recipes import Recipe, recipe_of
from ..servers.scope import Scope
from ..strategy import Judged, Origin, Strategy
from .findings import Findings, find

LONGER = "--rounds 200 --seconds 30"


class Outcome(Enum):
    """How a race ended, each with its symbol, as colour alone does not reach everybody."""

    EXACT = "✓"
    NOT_CAUGHT = "?"
    NOTHING_WRONG = "○"
    SERIAL = "="
    WRONG = "✗"
    FAILED = "!"
    SKIPPED = "–"


MEANINGS = {
    Outcome.EXACT: "every number once, none skipped, in the order of real time",
    Outcome.NOT_CAUGHT: "no wrong number this time, though it is known that there can be some",
    Outcome.NOTHING_WRONG: "no wrong number this time",
    Outcome.SERIAL: "one worker with one thread cannot race: right numbers here prove nothing",
    Outcome.WRONG: "wrong numbers",
    Outcome.FAILED: "it did not start, or gave no numbers",
    Outcome.SKIPPED: "not run",
}


@dataclass(frozen=True)
class Verdict:
    """What a race has shown.

    :param label: a few words.
    :param why: a sentence.
    :param details: the last lines of a server's log, where they may say more.
    :param promised: whether it has to be exact: this project's strategies as far as their store
        reaches, and the reader's own application.
    """

    outcome: Outcome
    label: str
    why: str
    promised: bool = False
    details: tuple[str, ...] = ()

    @property
    def breaks_promise(self) -> bool:
        return self.promised and self.outcome in (Outcome.WRONG, Outcome.FAILED)

    @property
    def is_open(self) -> bool:
        """Whether nothing wrong was seen, which is no proof."""
        return self.outcome in (Outcome.NOT_CAUGHT, Outcome.NOTHING_WRONG)


@dataclass(frozen=True)
class Result:
    """A race, with what was found in it and what that means."""

    race: Race
    findings: Findings | None
    verdict: Verdict


def judge(race: Race) -> Result:
    """What a race has shown."""
    findings = find(race.history) if race.history else None
    return Result(race, findings, _verdict(race, findings))


def conclusion(results: Iterable[Result]) -> str:
    """What the exit code says, in words."""
    results = list(results)
    if any(one.race.strategy.origin is Origin.YOURS for one in results):
        return _of_own(results)
    promised = [one.verdict for one in results if one.verdict.promised]
    kept = sum(not verdict.breaks_promise for verdict in promised)
    if not promised:
        return "There was nothing here that has to be exact."
    return f"{kept} of {len(promised)} races that have to be exact were."


def weakness(strategy: Strategy, recipe: Recipe) -> str:
    """Why the strategy cannot be exact under the server; empty if it can."""
    reasons = [_reach(strategy.scope, recipe), "" if recipe.is_serial else strategy.flaw]
    return "; and ".join(filter(None, reasons))


def limits(strategy: Strategy) -> list[str]:
    """Why the strategy is not exact everywhere, whatever the server."""
    return list(filter(None, [_LIMITS.get(strategy.scope), strategy.flaw]))


def _verdict(race: Race, findings: Findings | None) -> Verdict:
    strategy, recipe = race.strategy, recipe_of(race.server)
    if race.skipped:
        return Verdict(Outcome.SKIPPED, "skipped", race.skipped)
    reasons = weakness(strategy, recipe)
    promised = strategy.origin is not Origin.THEIRS and not reasons
    if findings is None or 2 * findings.unknown > findings.requests:
        return Verdict(Outcome.FAILED, *_failure(race), promised, _last_lines(race))
    if strategy.origin is Origin.YOURS and not (recipe.is_serial and findings.exact):
        return _own_verdict(race, recipe, findings)
    if not findings.exact:
        why = reasons or f"this should have been exact under {recipe.title}"
        return Verdict(Outcome.WRONG, label(strategy, recipe, findings), why, promised)
    if recipe.is_serial:
        why = f"{recipe.title} serves one request after the other: nothing can race here"
        return Verdict(Outcome.SERIAL, "cannot race", why)
    return _right(strategy, findings, reasons, promised)


def _own_verdict(race: Race, recipe: Recipe, findings: Findings) -> Verdict:
    """What the numbers of the reader's own application mean, with a response to compare."""
    assert race.history is not None
    example = own.examples(race.history)
    details = _last_lines(race) if findings.unknown else ()
    if not findings.exact:
        why = f"{own.why_wrong(findings)}; {example}"
        words = label(race.strategy, recipe, findings)
        return Verdict(Outcome.WRONG, words, why, True, details)
    why = f"nothing wrong in {_requests(findings)}; {example}"
    return Verdict(Outcome.NOTHING_WRONG, "nothing wrong", why, True, details)


def _requests(findings: Findings) -> str:
    lost = f" ({findings.unknown} had no number)" if findings.unknown else ""
    return f"{findings.requests:,} requests{lost}"


def _right(strategy: Strategy, findings: Findings, reasons: str, promised: bool) -> Verdict:
    """What right numbers mean, where there could have been wrong ones."""
    requests = _requests(findings)
    if reasons:
        why = f"not caught in {requests}, and still not safe: {reasons}"
        return Verdict(Outcome.NOT_CAUGHT, "not caught", why)
    why = "; ".join([f"exact in {requests}", *limits(strategy)])
    words = f"exact, {findings.unknown} unknown" if findings.unknown else "exact"
    return Verdict(Outcome.EXACT, words, why, promised)


def label(strategy: Strategy, recipe: Recipe, findings: Findings) -> str:
    """What is wrong, in a few words."""
    number, times = findings.commonest
    is_own = strategy.origin is Origin.YOURS
    if strategy.scope is Scope.REQUEST or (is_own and own.is_constant(findings)):
        return f"always {number}"
    if strategy.scope < recipe.scope or (is_own and findings.separate):
        return "never left the worker"
    if strategy.judged is Judged.EACH:
        return f"{findings.wrong} of {findings.counters} clients wrong"
    if times > 1 and 2 * times > findings.requests:
        return f"{number} given {times:,}×"
    counts = {"twice": findings.twice, "skipped": findings.skipped}
    found = [f"{count:,} {what}" for what, count in counts.items() if count]
    return ", ".join(found) or f"{findings.disordered:,} out of order"


def _reach(scope: Scope, recipe: Recipe) -> str:
    """Why state of this scope is not the same for all requests; empty if it is."""
    if scope >= recipe.scope:
        return ""
    if scope is Scope.REQUEST:
        return _LIMITS[scope]
    if scope is Scope.PROCESS:
        return f"it is in the memory of one process, and {recipe.title} has several"
    return (
        "processes share it that are forked after it was made; the workers of "
        f"{recipe.title} each make their own"
    )


_LIMITS = {
    Scope.REQUEST: "no request sees what the others have in theirs",
    Scope.PROCESS: "it is in the memory of one process, and no other process sees it",
    Scope.FORK: "only processes that are forked after it was made share it",
}


def _failure(race: Race) -> tuple[str, str]:
    if race.history is None:
        return "did not start", last_error(race.failed)
    failure = own.commonest_failure(race.history)
    is_error = race.log and race.strategy.origin is not Origin.YOURS
    return "no numbers", f"{failure}; {last_error(race.log)}" if is_error else failure


def _last_lines(race: Race) -> tuple[str, ...]:
    """What the server of the reader's own application has printed last."""
    if race.strategy.origin is not Origin.YOURS:
        return ()
    return tuple(map(printable, (race.log or race.failed).splitlines()[-LOG_LINES:]))


def last_error(log: str) -> str:
    """The line of a log that says best why a program ended: its last exception, or its end."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    errors = [line for line in lines if re.match(r"[\w.]*(Error|Exception|Unavailable)\b", line)]
    return (errors or lines or ["no reason given"])[-1]


def _of_own(results: Sequence[Result]) -> str:
    """What the races of the application came to, and what they cannot show."""
    broken = [one for one in results if one.verdict.breaks_promise]
    if broken:
        gave = any(one.verdict.outcome.name == "WRONG" for one in broken)
        what = "It gave wrong numbers" if gave else "It gave no numbers"
        return f"{what} under {len(broken)} of {_servers(len(results))}."
    passed = [one.findings for one in results if one.verdict.is_open and one.findings]
    if not passed:
        return "Nothing was tried here that could go wrong."
    requests = sum(findings.requests for findings in passed)
    return (
        f"Nothing wrong in {requests:,} requests under {_servers(len(passed))}. Trying cannot "
        f"prove that a counter is exact; a longer run may still find something: {LONGER}."
    )


def _servers(count: int) -> str:
    return f"{count} server{'' if count == 1 else 's'}"
