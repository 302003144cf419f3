"""``python -m bench.http``: requests of the service, beside its limit and what people deploy.

All servers run at once and are measured in turn; every response is checked. ``--before CHECKOUT``
measures another version beside this one.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

from ..report import surroundings
from .load import Load
from .measure import Extent, measure
from .results import Results
from .servers import CHOICES, contestants
from .tables import tables

PACKAGES = ("Flask", "Werkzeug", "granian", "gunicorn", "redis", "hiredis", "lmdb", "diskcache")
PROGRAMS = ("redis-server",)  # webdis has no option that tells its version


def main(arguments: list[str] | None = None) -> int:
    options = _parse(arguments)
    if options.show:
        saved = json.loads(options.show.read_text())
        _print(saved["about"], Results.from_plain(saved["measurements"]))
        return 0
    extent = Extent(options.rounds, options.seconds, options.connections, options.keys)
    with tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True) as name:
        directory = Path(name)
        try:
            load = Load(directory)
        except FileNotFoundError:
            print("skipped: bench.http, for want of a C compiler", file=sys.stderr)
            return 0
        most = max(extent.keys)
        with contestants(load, directory, options.only, options.before, most) as running:
            exact = {one.name for one in running if one.is_exact}
            results = measure(load, running, extent)
        about = surroundings(packages=PACKAGES, programs=PROGRAMS, directory=directory)
    about += (
        f"  \nMethod: medians of {extent.rounds} rounds of {extent.seconds:g} s, in turn; "
        "in brackets the least and the most of the rounds"
    )
    if options.json:
        print(json.dumps({"about": about, "measurements": results.plain()}))
    else:
        _print(about, results)
    return _report_wrong(results, exact)


def _print(about: str, results: Results) -> None:
    print(f"{about}\n", *tables(results), sep="\n")


def _report_wrong(results: Results, exact: set[str]) -> int:
    """1 if one that means to be exact was not."""
    status = 0
    for one in results.measurements:
        for wrong in one.wrong:
            print(
                f"{one.contestant}, {one.operation}, {one.connections} connections, "
                f"{one.keys} keys: {wrong}",
                file=sys.stderr,
            )
            status = status or int(one.contestant in exact)
    return status


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.http", description=__doc__)
    parser.add_argument("--seconds", type=float, default=1, help="a round (%(default)s)")
    parser.add_argument("--rounds", type=int, default=7, help="how many (%(default)s)")
    parser.add_argument(
        "--connections", type=int, nargs="+", default=[1, 32, 256], help="(%(default)s)"
    )
    parser.add_argument("--keys", type=int, nargs="+", default=[1, 4000], help="(%(default)s)")
    parser.add_argument(
        "--only", nargs="+", metavar="NAME", choices=CHOICES, default=[*CHOICES],
        help=f"contestants: {', '.join(CHOICES)}",
    )  # fmt: skip
    parser.add_argument(
        "--before", type=Path, metavar="CHECKOUT", help="a checkout of another version to race"
    )
    parser.add_argument("--json", action="store_true", help="print JSON and no tables")
    parser.add_argument(
        "--show",
        type=Path,
        metavar="RESULTS",
        help="measure nothing; the tables of what --json said",
    )
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
