"""What ``python -m torture`` prints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..run import Result
from .data import conclusion, in_words, store_as_data

COLUMNS = (
    *("operations", "violations", "as documented", "unknown", "refused"),
    *("longest stall", "recovery of each nemesis, at most"),
)


def line(result: Result) -> str:
    """What is known of a store that is being tortured."""
    return (
        f"{result.store}: {result.seconds:.0f} s, {result.operations:,} operations, "
        f"{len(result.faults)} faults, {result.verdicts.keys:,} histories judged, "
        f"{result.verdicts.violated} violations"
    )


def show(out: Console, results: Sequence[Result]) -> None:
    """A table, what was wrong with its histories, and what was left out."""
    found = [store_as_data(result) for result in results]
    out.print(_table([data for data in found if not data["skipped"]]))
    for data in found:
        for violation in data["shown"]:
            _show_violation(out, data["store"], violation)
        for text in _notes(data):
            out.print(f"{data['store']}: {text}", markup=False)
    out.print(f"\n[bold]{conclusion(results)}[/bold]")


def _table(found: Sequence[dict[str, Any]]) -> Table:
    table = Table(show_lines=True)
    for name in ("", *COLUMNS):
        table.add_column(name, justify="left" if name in ("", COLUMNS[-1]) else "right")
    for data in found:
        times = [f"{name} {in_words(each)}" for name, each in data["recovery"].items()]
        table.add_row(
            Text(data["store"], "green" if data["good"] else "bold red"),
            f"{data['operations']:,}",
            str(data["violations"]),
            str(data["losses as documented"]),
            str(data["unknown"]),
            f"{data['refused']:,}",
            f"{data['longest stall']:.2f} s",
            ", ".join(times),
        )
    return table


def _show_violation(out: Console, store: str, violation: dict[str, Any]) -> None:
    what = f"lost, as documented ({violation['reason']})" if violation["reason"] else "VIOLATION"
    during = f" during {', '.join(violation['nemeses'])}" if violation["nemeses"] else ""
    key = f"the key {violation['key']} was {violation['initial']}"
    out.print(f"\n{store}: {what}{during}; {key}", markup=False)
    for text in violation["lines"]:
        out.print(text, markup=False, no_wrap=True, overflow="ellipsis")


def _notes(data: dict[str, Any]) -> list[str]:
    """What stands below the table and the histories."""
    notes = []
    if data["skipped"]:
        notes.append(f"skipped: {data['skipped']}")
    if data["failed"]:
        notes.append(f"broke off: {data['failed']}")
    if data["crashed clients"]:
        notes.append(f"{data['crashed clients']} clients ended by themselves")
    if data["undecided"]:
        notes.append(f"{data['undecided']} histories have too many possible orders to judge")
    notes += [f"an error that is not promised: {error}" for error in data["unpromised errors"]]
    for why in dict.fromkeys(data["left out"].values()):
        names = [name for name, reason in data["left out"].items() if reason == why]
        notes.append(f"without {', '.join(names)}: {why}")
    return notes
