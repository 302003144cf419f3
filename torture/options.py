"""The command line of ``python -m torture``."""

from __future__ import annotations

import argparse
import math
from dataclasses import replace

from race.arguments import new_file, positive

from .clients.broken import BROKEN
from .nemeses.table import NEMESES
from .run import Load
from .servers.table import DEPLOYMENTS

SECONDS = 10.0
LONG = 10_000_000
LONG_QUIET = (1.0, 5.0)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The options.

    :raises SystemExit: they make no sense.
    """
    return _parser().parse_args(arguments)


def load_of(options: argparse.Namespace, stores: int) -> Load:
    """What each of so many stores is asked."""
    load = Load(
        options.seconds,
        options.seed,
        options.processes,
        options.threads,
        options.broken or "",
        stops_early=bool(options.broken),
    )
    if not options.long:
        return load
    return replace(load, seconds=math.inf, most=LONG / max(stores, 1), quiet=LONG_QUIET)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m torture",
        description="Every operation, by many clients at once, while clients and servers are "
        "killed, stopped and cut off: can what they saw have happened?",
        epilog="The exit code is 0 only if all that is promised held. Names may have wildcards. "
        "Nemeses: " + "; ".join(f"{one.name}: {one.about}" for one in NEMESES.values()) + ".",
    )
    add = parser.add_argument
    several = {"action": "extend", "nargs": "+", "metavar": "NAME"}
    add("--store", **several, help=f"of: {', '.join(DEPLOYMENTS)}")  # type: ignore[arg-type]
    add("--nemesis", **several, help=f"of: {', '.join(NEMESES)}")  # type: ignore[arg-type]
    add("--seconds", type=float, default=SECONDS, help="for each store (%(default)s)")
    add("--seed", default="1", help="of all random choices (%(default)s)")
    add("--processes", type=positive, default=2, help="of clients (%(default)s)")
    add("--threads", type=positive, default=4, help="of each of them (%(default)s)")
    add("--long", action="store_true", help=f"{LONG:,} operations over all stores: a night")
    add("--broken", choices=BROKEN, help="torture what is known to be wrong, until it is caught")
    add("--json", action="store_true", help="print JSON instead of tables")
    add("--html", type=new_file, metavar="FILE", help="write a page to look at and to share")
    return parser
