"""What `python -m race` shows: a live table, and the matrix with its reasons at the end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from .. import own
from ..judging.verdict import MEANINGS, Outcome, Result, conclusion, limits
from ..servers.recipes import missing, recipe_of
from ..strategy import Origin, Strategy

STYLES = {
    Outcome.EXACT: "green",
    Outcome.NOT_CAUGHT: "yellow",
    Outcome.NOTHING_WRONG: "cyan",
    Outcome.SERIAL: "dim",
    Outcome.WRONG: "bold red",
    Outcome.FAILED: "magenta",
    Outcome.SKIPPED: "dim",
}
NAME_WIDTH = 30
CELL_WIDTH = 15
PLAIN_WIDTH = 200
HEADING_LINES = 8


class Progressing(Protocol):
    """Is told what goes on."""

    def starting(self, strategy: Strategy, server: str) -> None: ...
    def finished(self, result: Result) -> None: ...


def console(*, stderr: bool = False) -> Console:
    """Where to write; wide enough for the whole matrix if it is no terminal."""
    found = Console(stderr=stderr, highlight=False)
    if not found.is_terminal:
        found.width = PLAIN_WIDTH
    return found


@contextmanager
def progress(out: Console, total: int) -> Iterator[Progressing]:
    """Shows the races as they end: a table that grows, or a line each if `out` is no terminal."""
    if not out.is_terminal:
        yield _Lines(out, total)
        return
    bar = Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
        console=out,
    )  # fmt: skip
    table = _LiveTable(out, bar, total)
    with Live(get_renderable=table.render, console=out, transient=True, refresh_per_second=4):
        yield table


def show(out: Console, results: Sequence[Result]) -> None:
    """The matrix, in as many parts as the width asks for, what the signs mean, and why."""
    servers = list(dict.fromkeys(result.race.server for result in results))
    at_once = max(1, (out.width - NAME_WIDTH - 3) // (CELL_WIDTH + 3))
    for start in range(0, len(servers), at_once):
        out.print(matrix(results, servers[start : start + at_once]))
    for outcome in dict.fromkeys(result.verdict.outcome for result in results):
        out.print(Text(f"{outcome.value} {MEANINGS[outcome]}", STYLES[outcome]))
    for heading, lines in reasons(results).items():
        out.print(f"\n[bold]{heading}[/bold]")
        for line in lines:
            out.print(f"  {line}", markup=False)
    out.print(f"\n[bold]{conclusion(results)}[/bold]")


def matrix(results: Sequence[Result], servers: Sequence[str], *, short: bool = False) -> Table:
    """Strategies × servers.

    :param short: one line a strategy, without speeds.
    """
    table = Table(show_lines=not short, expand=False)
    table.add_column("", min_width=NAME_WIDTH, max_width=NAME_WIDTH + 10)
    for server in servers:
        title = server if short else recipe_of(server).title
        table.add_column(title, no_wrap=short, overflow="ellipsis" if short else "fold")
    found = {(one.race.strategy.name, one.race.server): one for one in results}
    for strategy in {one.race.strategy.name: one.race.strategy for one in results}.values():
        cells = [_cell(found.get((strategy.name, server)), short) for server in servers]
        name = Text(strategy.title, "" if strategy.origin is Origin.THEIRS else "bold")
        table.add_row(name, *cells)
    return table


def reasons(results: Sequence[Result]) -> dict[str, list[str]]:
    """Why it went as it did: under a heading each reason once, with those that it is true of."""
    found: dict[str, dict[str, dict[str, list[str]]]] = {}
    for result in results:
        heading, lines = _explained(result)
        for text in lines:
            name, server = _about(result)
            servers = found.setdefault(heading, {}).setdefault(text, {}).setdefault(name, [])
            servers.extend([server] if server else [])
    return {
        heading: [f"{_listed(names)}: {text}" for text, names in about.items()]
        for heading, about in found.items()
    }


def _listed(names: Mapping[str, Sequence[str]]) -> str:
    return ", ".join(
        f"{name} under {' and '.join(servers)}" if servers else name
        for name, servers in names.items()
    )


def _explained(result: Result) -> tuple[str, list[str]]:
    """A heading and the reasons below it; the ones that a strategy has under every server."""
    verdict = result.verdict
    if result.race.strategy.origin is Origin.YOURS and verdict.outcome is not Outcome.SKIPPED:
        is_broken = verdict.outcome is Outcome.FAILED
        heading = "What did not work" if is_broken else "What was seen"
        return heading, [f"{verdict.why}{own.indented(verdict.details)}"]
    if verdict.breaks_promise:
        return "What should have been exact", [verdict.why]
    if verdict.outcome in (Outcome.WRONG, Outcome.NOT_CAUGHT):
        return "Why it is not exact", limits(result.race.strategy) or [verdict.why]
    if verdict.outcome is Outcome.FAILED:
        return "What did not work", [verdict.why]
    if verdict.outcome is Outcome.SKIPPED:
        return "What was skipped", [verdict.why]
    return "", []


def line(result: Result) -> str:
    """A race in one line."""
    race, verdict = result.race, result.verdict
    speed = f"  ({_speed(result)})" if result.findings else f"  ({verdict.why})"
    return f"{verdict.outcome.value} {race.strategy.title} | {race.server}: {verdict.label}{speed}"


def _about(result: Result) -> tuple[str, str]:
    """What a reason is about: a strategy, or a server that is missing; and under which server."""
    race, verdict = result.race, result.verdict
    if verdict.outcome is Outcome.SKIPPED:
        return (race.server if missing(race.server) else race.strategy.name), ""
    is_own = race.strategy.origin is Origin.YOURS
    is_of_both = verdict.outcome is Outcome.FAILED or verdict.breaks_promise or is_own
    name = race.strategy.title if is_own else race.strategy.name
    return name, race.server if is_of_both else ""


def _cell(result: Result | None, short: bool) -> Text:
    if result is None:
        return Text("")
    verdict = result.verdict
    cell = Text(f"{verdict.outcome.value} {verdict.label}", STYLES[verdict.outcome])
    if result.findings and not short:
        cell.append(f"\n{_speed(result)}", "not bold dim")
    return cell


def _speed(result: Result) -> str:
    assert result.findings is not None
    return f"{result.findings.rate:,.0f}/s p99 {result.findings.p99 * 1000:.0f} ms"


class _Lines:
    def __init__(self, out: Console, total: int) -> None:
        self._out, self._total, self._done = out, total, 0

    def starting(self, strategy: Strategy, server: str) -> None:
        pass

    def finished(self, result: Result) -> None:
        self._done += 1
        self._out.print(f"[{self._done}/{self._total}] {line(result)}", markup=False)


class _LiveTable:
    """The strategies that were last at work, as many as there is room for, above a bar."""

    def __init__(self, out: Console, bar: Progress, total: int) -> None:
        self._out, self._bar = out, bar
        self._task = bar.add_task("", total=total)
        self._results: list[Result] = []

    def starting(self, strategy: Strategy, server: str) -> None:
        self._bar.update(self._task, description=f"{strategy.title} under {server}")

    def finished(self, result: Result) -> None:
        self._results.append(result)
        self._bar.advance(self._task)

    def render(self) -> Group:
        results = list(self._results)
        room = max(1, self._out.height - HEADING_LINES)
        recent = list(dict.fromkeys(one.race.strategy.name for one in results))[-room:]
        shown = [one for one in results if one.race.strategy.name in recent]
        servers = list(dict.fromkeys(one.race.server for one in results))
        return Group(matrix(shown, servers, short=True), self._bar)
