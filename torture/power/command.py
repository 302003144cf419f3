"""``python -m torture.power``: is what a store promises true after a power cut?

A store that several processes use is recorded, with each write and each sync. Then the power is cut
at random points of the recording: what was not synced is dropped, torn or in another order on the
disk, and the store is opened on what is left.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from .cases import CASES, Case
from .history import Outcome
from .recorder import NoCompiler
from .replay import Recording, Result, load, recorded, replay

CUTS, STEPS = 500, 360
_SHOWN = 5
_WIDTH = len("control: filesystem, full, on a disk that lies")


def main(arguments: list[str] | None = None) -> int:
    """Cut the power as often as the command line says.

    :returns: 0 if each store does what it promises, and each control is seen to fail; 1 if not.
    """
    options = _parse(arguments)
    if not options.json:
        print(" " * _WIDTH, *(f"{outcome:>9}" for outcome in Outcome))
    results = []
    try:
        for result in _run(_cases(options), options):
            results.append(result)
            if not options.json:
                print(_row(result), flush=True)
    except NoCompiler as error:
        print(error, file=sys.stderr)
        return 1
    if options.json:
        print(json.dumps({"seed": options.seed, "results": [_plain(each) for each in results]}))
    else:
        print(f"seed {options.seed}")
    return int(not all(result.is_as_promised for result in results))


def _cases(options: argparse.Namespace) -> list[Case]:
    if options.recording:
        return [case for case in CASES if case.recording == options.recording.stem]
    return [case for case in CASES if options.store in (None, case.store)]


def _run(cases: Sequence[Case], options: argparse.Namespace) -> Iterator[Result]:
    with tempfile.TemporaryDirectory(prefix="power-") as name:
        directory = Path(name)
        recordings: dict[str, Recording] = {}
        for case in cases:
            if case.recording not in recordings:
                recordings[case.recording] = (
                    load(options.recording)
                    if options.recording
                    else recorded(case.store, case.durability, options.steps, directory)
                )
            yield replay(
                recordings[case.recording],
                case,
                options.cuts // 2 if case.is_control else options.cuts,
                f"{options.seed} {case.title}",
                directory,
                keep=options.keep,
            )


def _row(result: Result) -> str:
    counts = (f"{result.outcomes[outcome]:>9,}" for outcome in Outcome)
    lines = [" ".join((f"{_name(result):{_WIDTH}}", *counts, f" {_verdict(result)}"))]
    if not result.case.is_control:
        for broken in result.broken[:_SHOWN]:
            lines += [f"  cut {broken.cut}: {broken.outcome} {broken.why}", f"  {broken.kept}"]
    return "\n".join(lines)


def _name(result: Result) -> str:
    return ("control: " if result.case.is_control else "") + result.case.title


def _verdict(result: Result) -> str:
    if result.case.is_control:
        return "✓ seen to lose" if result.is_as_promised else "✗ nothing was seen"
    return "✓ as promised" if result.is_as_promised else f"✗ {len(result.broken)} broken"


def _plain(result: Result) -> dict[str, object]:
    return {
        "case": _name(result),
        "is_as_promised": result.is_as_promised,
        "outcomes": dict(result.outcomes),
        "broken": [[broken.cut, broken.outcome, broken.why] for broken in result.broken],
    }


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m torture.power", description=__doc__)
    stores = sorted({case.store for case in CASES})
    parser.add_argument("--store", choices=stores, help="only this one; the default is all")
    parser.add_argument(
        "--cuts",
        type=int,
        default=CUTS,
        help=f"how often the power is cut, each; {CUTS}, and in a control half as often",
    )
    parser.add_argument(
        "--steps", type=int, default=STEPS, help=f"how many changes are recorded, each; {STEPS}"
    )
    parser.add_argument(
        "--seed", default=str(random.randrange(10**6)), help="of the cuts; the clients race anew"
    )
    parser.add_argument(
        "--recording",
        type=Path,
        metavar="FILE",
        help="cut this one, which was kept: with the same seed and number of cuts in the same way",
    )
    parser.add_argument(
        "--keep",
        type=Path,
        default=Path("build/power"),
        help="where the recording and the files are put that break a promise; build/power",
    )
    parser.add_argument("--json", action="store_true", help="print it for programs")
    return parser.parse_args(arguments)
