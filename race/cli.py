"""``python -m race``: who hands out the numbers 1, 2, 3, … when 100 clients ask at once?"""

from __future__ import annotations

import argparse
import json
import signal
import sys
from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import Path
from types import FrameType, ModuleType
from typing import TYPE_CHECKING, NoReturn

from .html import page
from .recipes import SERVERS
from .report import as_data
from .runner import Load, run
from .strategies import STRATEGIES
from .strategy import Judged, Origin, Strategy
from .verdict import Result, judge

if TYPE_CHECKING:
    from .terminal import Progressing

ROUNDS, SECONDS = 20, 1.0
QUICK_ROUNDS, QUICK_SECONDS = 10, 0.6
QUICK_STRATEGIES = (
    "global", "global-lock", "value", "cookie-parallel", "get-set-files",
    "ours-filesystem", "ours-lmdb", "ours-session-parallel",
)  # fmt: skip
QUICK_SERVERS = ("flask-threaded", "gunicorn-sync", "granian")
INTERRUPTED = 130


def main(arguments: list[str] | None = None) -> int:
    """Run the races that the command line names.

    :returns: 0 if every strategy of ours, or the reader's own application, was exact wherever it
        has to be; 1 if not; 130 after Ctrl-C.
    """
    options = parse(arguments)
    strategies, servers = chosen(options)
    races = [(strategy, server) for strategy in strategies for server in servers]
    terminal = _terminal()
    signal.signal(signal.SIGTERM, _interrupt)
    results: list[Result] = []
    try:
        with terminal.progress(terminal.console(stderr=options.json), len(races)) as progress:
            _run_all(races, options, progress, results)
    except KeyboardInterrupt:
        _report(options, results, terminal)
        return INTERRUPTED
    _report(options, results, terminal)
    return int(any(result.verdict.breaks_promise for result in results))


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The options, with the defaults that go together."""
    options = _parser().parse_args(arguments)
    if options.rounds is None:
        options.rounds = QUICK_ROUNDS if options.quick else ROUNDS
    if options.seconds is None:
        options.seconds = QUICK_SECONDS if options.quick else SECONDS
    return options


def chosen(options: argparse.Namespace) -> tuple[list[Strategy], list[str]]:
    """The strategies and servers to race.

    :raises SystemExit: one of them does not exist.
    """
    servers = options.server or (QUICK_SERVERS if options.quick else SERVERS)
    if options.app:
        return [own(options)], matching(servers, SERVERS)
    names = options.strategy or (QUICK_STRATEGIES if options.quick else STRATEGIES)
    return [STRATEGIES[name] for name in matching(names, STRATEGIES)], matching(servers, SERVERS)


def own(options: argparse.Namespace) -> Strategy:
    """The reader's application."""
    return Strategy(
        "app",
        options.app,
        options.app,
        judged=Judged.EACH if options.per_client else Judged.ALL,
        origin=Origin.YOURS,
        method=options.method,
        path=options.path,
    )


def matching(patterns: Iterable[str], names: Iterable[str]) -> list[str]:
    """The names that match, in the order of the patterns, each once.

    :raises SystemExit: a pattern matches none.
    """
    known = list(names)
    found: dict[str, None] = {}
    for pattern in patterns:
        matches = [name for name in known if fnmatchcase(name, pattern)]
        if not matches:
            sys.exit(f"race: there is no {pattern!r}; there are: {', '.join(known)}")
        found |= dict.fromkeys(matches)
    return list(found)


def _run_all(
    races: Iterable[tuple[Strategy, str]],
    options: argparse.Namespace,
    progress: Progressing,
    results: list[Result],
) -> None:
    """Fill `results`, so that there are some after Ctrl-C too."""
    for strategy, server in races:
        progress.starting(strategy, server)
        race = run(strategy, server, _load(options), directory=Path.cwd() if options.app else None)
        results.append(judge(race))
        progress.finished(results[-1])


def _load(options: argparse.Namespace) -> Load:
    return Load(options.clients, options.rounds, options.seconds)


def _report(options: argparse.Namespace, results: list[Result], terminal: ModuleType) -> None:
    load = _load(options)
    if options.json:
        print(json.dumps(as_data(results, load), indent=1))
    else:
        terminal.show(terminal.console(), results)
    if options.html:
        options.html.write_text(page(results, load), encoding="utf-8")


def _terminal() -> ModuleType:
    try:
        from . import terminal
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("rich"):
            raise
        sys.exit("race: its tables need rich: pip install 'rich>=14', or run `make race`")
    return terminal


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    """Let SIGTERM stop everything, as Ctrl-C does."""
    raise KeyboardInterrupt


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m race",
        description="Ways of sharing state in Flask, each under each WSGI server, with many "
        "clients at once: which of them hand out every number once?",
        epilog="The exit code is 0 only if every strategy of this project was exact, wherever its "
        "store reaches all workers. Names may have wildcards: --strategy 'ours-*'.",
    )
    add = parser.add_argument
    add("--strategy", nargs="+", metavar="NAME", help=f"of: {', '.join(STRATEGIES)}")
    add("--server", nargs="+", metavar="NAME", help=f"of: {', '.join(SERVERS)}")
    add("--quick", action="store_true", help="a few of each, in less than a minute")
    add("--clients", type=_positive, default=100, help="that ask at once (%(default)s)")
    add("--rounds", type=_positive, help=f"requests of each client ({ROUNDS})")
    add("--seconds", type=float, help=f"after which no round begins ({SECONDS})")
    add("--json", action="store_true", help="print JSON instead of tables")
    add("--html", type=_new_file, metavar="FILE", help="write a page to look at and to share")
    add("--app", metavar="MODULE:APP", help="judge your own application, or a factory of one")
    add("--path", default="/", help="what to ask it for; it answers a number (%(default)s)")
    add("--method", default="GET", help="how to ask it (%(default)s)")
    add("--per-client", action="store_true", help="it counts for each client, by cookie")
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


def _new_file(text: str) -> Path:
    path = Path(text)
    if not path.absolute().parent.is_dir():
        raise argparse.ArgumentTypeError("its directory does not exist")
    return path
