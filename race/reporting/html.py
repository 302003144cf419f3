"""The results as one page that needs nothing else: the matrix, and the numbers of every race."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader

from ..judging.verdict import Outcome, Result, conclusion
from ..runner import Load
from ..strategy import Judged
from .report import as_data, numbers_of, race_as_data

TEMPLATE = Path(__file__).with_name("report.html")
HEATS = 4


def page(results: Sequence[Result], load: Load) -> str:
    """The whole page."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATE.parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    data = as_data(results, load)
    cells = {_id(result): _cell(result) for result in results}
    used = {result.verdict.outcome.name.lower() for result in results}
    return environment.get_template(TEMPLATE.name).render(
        data=data,
        cells=cells,
        legend={name: data["outcomes"][name] for name in data["outcomes"] if name in used},
        conclusion=conclusion(results),
    )


def heat(result: Result) -> int:
    """How much of the race went wrong, from 0 for nothing to `HEATS` for nearly all of it."""
    if result.verdict.outcome is not Outcome.WRONG or result.findings is None:
        return 0
    findings = result.findings
    if result.race.strategy.judged is Judged.EACH:
        share = findings.wrong / findings.counters
    else:
        share = max(findings.skipped, findings.disordered) / findings.requests
    return min(HEATS, 1 + int(share * HEATS))


def _id(result: Result) -> str:
    return f"{result.race.strategy.name}/{result.race.server}"


def _cell(result: Result) -> dict[str, Any]:
    history = result.race.history
    return race_as_data(result) | {
        "symbol": result.verdict.outcome.value,
        "heat": heat(result),
        "each": result.race.strategy.judged is Judged.EACH,
        "numbers": numbers_of(history) if history else "",
    }
