"""What a race says about the reader's own application, of which nothing else is known."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from .clients.numbers import candidates, is_success, shown
from .clients.rush import Answer
from .judging.findings import Findings
from .judging.history import History

if TYPE_CHECKING:
    from .judging.verdict import Result

LONGER = "--rounds 200 --seconds 30"


def is_constant(findings: Findings) -> bool:
    """Whether every answer had the same number."""
    answered = findings.requests - findings.unanswered
    return answered > 1 and findings.commonest.times == answered


def why_wrong(findings: Findings) -> str:
    """Why its numbers may be wrong."""
    if is_constant(findings):
        return (
            f"every answer had the number {findings.commonest.number}: is it the counter? "
            "If not, --number says where in the answer the counter stands"
        )
    if findings.separate:
        return f"{findings.separate} workers each counted from 1: the state is in their own memory"
    return "requests worked on the same number at the same time"


def examples(history: History) -> str:
    """An answer with the number that was read in it, and one without, if there are any."""
    read = next((one for one in history.answers if history.read(one) is not None), None)
    failed = commonest_failure(history)
    found = [f"an answer: {shown(read)} (read as {history.read(read)})"] if read else []
    if failed:
        found.append(f"an answer without a number: {failed}")
    return "; ".join(found)


def commonest_failure(history: History) -> str:
    """What most of the requests without a number were answered; empty if all had one."""
    found = [_failure(one) for one in history.answers if history.read(one) is None]
    return max(set(found), key=found.count) if found else ""


def conclusion(results: Sequence[Result]) -> str:
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


def notice(name: str, clients: int, rounds: int) -> str:
    """What the reader has to know before the race begins."""
    return (
        f"race: every request counts for real: up to {clients * rounds + 1:,} for each server, "
        f"which change the state that {name} uses. Take a copy that may be changed."
    )


def indented(lines: Iterable[str]) -> str:
    """Lines to stand below another one."""
    return "".join(f"\n      {line}" for line in lines)


def _failure(answer: Answer) -> str:
    several = candidates(answer) if is_success(answer) else []
    if len(several) > 1:
        numbers = ", ".join(several[:5])
        return f"{shown(answer)} (several numbers, {numbers}: choose one with --number)"
    return shown(answer)


def _servers(count: int) -> str:
    return f"{count} server{'' if count == 1 else 's'}"
