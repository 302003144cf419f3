"""Results as plain data, for JSON and for the page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from race.reporting.report import surroundings

from ..judging.judge import Violation
from ..run import Load, Result
from ..run_log import Fault
from . import drawing


def as_data(results: Sequence[Result], load: Load) -> dict[str, Any]:
    """All results as JSON can hold them."""
    return {
        "about": surroundings(),
        "load": {name: _number(value) for name, value in asdict(load).items()},
        "conclusion": conclusion(results),
        "stores": [store_as_data(result) for result in results],
    }


def store_as_data(result: Result) -> dict[str, Any]:
    """One store: what was counted, the faults, and what was wrong."""
    verdicts, outcomes = result.verdicts, result.counts.outcomes
    return {
        "store": result.store,
        "good": result.is_good,
        "skipped": result.skipped,
        "failed": result.failed,
        "seconds": round(result.seconds, 3),
        "operations": result.operations,
        "succeeded": outcomes["ok"],
        "refused": outcomes["refused"],
        "unknown": outcomes["unknown"],
        "by operation": dict(result.counts.operations),
        "errors": dict(result.counts.errors),
        "unpromised errors": result.counts.wrong,
        "crashed clients": result.crashes,
        "histories": verdicts.keys,
        "events": verdicts.events,
        "undecided": verdicts.undecided,
        "violations": verdicts.violated,
        "losses as documented": verdicts.lost,
        "longest stall": round(result.counts.longest_stall, 3),
        "faults": [_fault(fault) for fault in result.faults],
        "recovery": recovery(result),
        "left out": result.left_out,
        "shown": [_shown(one) for one in (*verdicts.violations, *verdicts.losses)],
    }


def recovery(result: Result) -> dict[str, dict[str, Any]]:
    """For each nemesis how many faults it injected, and how long the store took afterwards at most.

    From the end of the fault to the response of the first change that began after it and succeeded;
    `None` if there was none.
    """
    found: dict[str, list[float]] = {}
    for fault in result.faults:
        found.setdefault(fault.nemesis, []).append(fault.recovered - fault.ended)
    return {
        name: {"faults": len(times), "slowest": _number(round(max(times), 3))}
        for name, times in found.items()
    }


def conclusion(results: Sequence[Result]) -> str:
    """All in one sentence."""
    ran = [result for result in results if not result.skipped]
    operations = sum(result.operations for result in ran)
    faults = sum(len(result.faults) for result in ran)
    wrong = [result.store for result in ran if not result.is_good]
    stores = "1 store" if len(ran) == 1 else f"{len(ran)} stores"
    begin = f"{operations:,} operations on {stores} with {faults} faults: "
    if wrong:
        return f"{begin}what is promised did not hold on {', '.join(wrong)}"
    return f"{begin}every history is linearizable, but for what the documentation says may be lost"


def _fault(fault: Fault) -> dict[str, Any]:
    return {
        "nemesis": fault.nemesis,
        "target": fault.target,
        "seconds": _number(round(fault.ended - fault.began, 3)),
        "recovery": _number(round(fault.recovered - fault.ended, 3)),
    }


def _shown(violation: Violation) -> dict[str, Any]:
    return {
        "key": violation.key,
        "reason": violation.reason,
        "nemeses": violation.nemeses,
        "initial": drawing.shown(violation.initial),
        "bars": [bar._asdict() for bar in drawing.bars(violation.history)],
        "lines": drawing.lines(violation.history),
    }


def _number(value: Any) -> Any:
    """JSON has no infinity."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def in_words(times: Mapping[str, Any]) -> str:
    """How often and how long: ``3 × 0.12 s``."""
    slowest = times["slowest"]
    return f"{times['faults']} × {'never' if slowest is None else f'{slowest:.2f} s'}"
