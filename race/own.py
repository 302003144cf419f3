"""What a race says about the reader's own application, of which nothing else is known."""

from __future__ import annotations

from collections.abc import Iterable

from .clients.numbers import candidates, is_success, shown
from .clients.rush import Response
from .judging.findings import Findings
from .judging.history import History


def is_constant(findings: Findings) -> bool:
    """Whether every response had the same number."""
    numbers = findings.requests - findings.unknown
    return numbers > 1 and findings.commonest.times == numbers


def why_wrong(findings: Findings) -> str:
    """Why its numbers may be wrong."""
    if is_constant(findings):
        return (
            f"every response had the number {findings.commonest.number}: is it the counter? "
            "If not, --number says where in the response the counter stands"
        )
    if findings.separate:
        return f"{findings.separate} workers each counted from 1: the state is in their own memory"
    return "requests worked on the same number at the same time"


def examples(history: History) -> str:
    """A response with the number that was read in it, and one without, if there are any."""
    read = next((one for one in history.responses if history.read(one) is not None), None)
    failed = commonest_failure(history)
    found = [f"a response: {shown(read)} (read as {history.read(read)})"] if read else []
    if failed:
        found.append(f"a response without a number: {failed}")
    return "; ".join(found)


def commonest_failure(history: History) -> str:
    """What most of the requests without a number got; empty if all had one."""
    found = [_failure(one) for one in history.responses if history.read(one) is None]
    return max(set(found), key=found.count) if found else ""


def notice(name: str, clients: int, rounds: int) -> str:
    """What the reader has to know before the race begins."""
    return (
        f"race: every request counts for real: up to {clients * rounds + 1:,} for each server, "
        f"which change the state that {name} uses. Take a copy that may be changed."
    )


def indented(lines: Iterable[str]) -> str:
    """Lines to stand below another one."""
    return "".join(f"\n      {line}" for line in lines)


def _failure(response: Response) -> str:
    several = candidates(response) if is_success(response) else []
    if len(several) > 1:
        numbers = ", ".join(several[:5])
        return f"{shown(response)} (several numbers, {numbers}: choose one with --number)"
    return shown(response)
