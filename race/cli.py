"""``python -m race``: who hands out the numbers 1, 2, 3, … when 100 clients ask at once?"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable
from types import ModuleType
from typing import TYPE_CHECKING

from . import options as command_line
from .arguments import INTERRUPTED, interrupt_at_sigterm, matching
from .judging.verdict import Result, judge
from .own import notice
from .reporting.html import page
from .reporting.report import as_data
from .runner import Load, run
from .servers.recipes import OWN_GUNICORN, RUNNING, SERVERS
from .strategies.table import STRATEGIES
from .strategy import Strategy

if TYPE_CHECKING:
    from .reporting.terminal import Progressing

QUICK_STRATEGIES = (
    "global", "global-lock", "value", "cookie-parallel", "get-set-files",
    "ours-filesystem", "ours-lmdb", "ours-session-parallel",
)  # fmt: skip
QUICK_SERVERS = ("flask-threaded", "gunicorn-sync", "granian")


def main(arguments: list[str] | None = None) -> int:
    """Run the races that the command line names.

    :returns: 0 if every strategy of ours, or the reader's own application, was exact wherever it
        has to be; 1 if not; 130 after Ctrl-C.
    """
    options = command_line.parse(arguments)
    strategies, servers = chosen(options)
    races = [(strategy, server) for strategy in strategies for server in servers]
    terminal = _terminal()
    if options.app or options.url:
        print(notice(options.app or options.url, options.clients, options.rounds), file=sys.stderr)
    interrupt_at_sigterm()
    results: list[Result] = []
    try:
        with terminal.progress(terminal.console(stderr=options.json), len(races)) as progress:
            _run_all(races, options, progress, results)
    except KeyboardInterrupt:
        _report(options, results, terminal)
        return INTERRUPTED
    _report(options, results, terminal)
    return int(any(result.verdict.breaks_promise for result in results))


def chosen(options: argparse.Namespace) -> tuple[list[Strategy], list[str]]:
    """The strategies and servers to race.

    :raises SystemExit: one of them does not exist.
    """
    if options.url:
        return [command_line.own(options)], [RUNNING]
    servers = options.server or (QUICK_SERVERS if options.quick else SERVERS)
    if options.gunicorn_config and not options.server:
        servers = [OWN_GUNICORN]
    if options.app:
        known = [*SERVERS, OWN_GUNICORN] if options.gunicorn_config else SERVERS
        return [command_line.own(options)], matching(servers, known)
    names = options.strategy or (QUICK_STRATEGIES if options.quick else STRATEGIES)
    return [STRATEGIES[name] for name in matching(names, STRATEGIES)], matching(servers, SERVERS)


def _run_all(
    races: Iterable[tuple[Strategy, str]],
    options: argparse.Namespace,
    progress: Progressing,
    results: list[Result],
) -> None:
    """Fill `results`, so that there are some after Ctrl-C too."""
    for strategy, server in races:
        progress.starting(strategy, server)
        race = run(strategy, server, _load(options), place=command_line.place(options))
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
        from .reporting import terminal
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("rich"):
            raise
        sys.exit("race: its tables need rich: pip install 'rich>=14', or run `make race`")
    return terminal
