"""``python -m torture``: what is promised, under faults."""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from race.arguments import INTERRUPTED, interrupt_at_sigterm, matching

from . import options as command_line
from .nemeses.nemesis import Nemesis
from .nemeses.table import NEMESES
from .report import terminal
from .report.data import as_data
from .report.html import page
from .run import Load, Result, run
from .servers.node import Missing
from .servers.table import DEPLOYMENTS

SHOW_SECONDS = 1.0
PLAIN_WIDTH = 160


def main(arguments: list[str] | None = None) -> int:
    """Torture the stores that the command line names.

    :returns: 0 if all that is promised held, 1 if not, 130 after Ctrl-C.
    """
    options = command_line.parse(arguments)
    stores = matching(options.store or list(DEPLOYMENTS), list(DEPLOYMENTS))
    names = matching(options.nemesis or list(NEMESES), list(NEMESES))
    load = command_line.load_of(options, len(stores))
    interrupt_at_sigterm()
    err = Console(stderr=True, highlight=False)
    results: list[Result] = []
    try:
        for store in stores:
            torture(store, [NEMESES[name] for name in names], load, results, err)
    except KeyboardInterrupt:
        _report(options, results, load)
        return INTERRUPTED
    _report(options, results, load)
    return int(not all(result.is_good for result in results))


def torture(
    store: str, nemeses: Sequence[Nemesis], load: Load, results: list[Result], err: Console
) -> None:
    """Start a store, torture it, and stop it.

    :param results: is given what comes of it as soon as there is something, for Ctrl-C.
    """
    shown = time.monotonic()

    def show(result: Result) -> None:
        nonlocal shown
        if result not in results:
            results.append(result)
        if time.monotonic() - shown >= SHOW_SECONDS:
            shown = time.monotonic()
            status.update(terminal.line(result))

    with (
        err.status(store) as status,
        tempfile.TemporaryDirectory(prefix="torture-", ignore_cleanup_errors=True) as directory,
    ):
        try:
            with DEPLOYMENTS[store](Path(directory)) as deployment:
                result = run(deployment, nemeses, load, show)
        except Missing as error:
            results.append(Result(store, skipped=str(error)))
        except RuntimeError as error:
            if not results or results[-1].store != store:
                results.append(Result(store))
            results[-1].failed = str(error)
        else:
            err.print(terminal.line(result), markup=False, soft_wrap=True)


def _report(options: argparse.Namespace, results: list[Result], load: Load) -> None:
    if options.json:
        print(json.dumps(as_data(results, load), indent=1))
    else:
        out = Console(highlight=False)
        if not out.is_terminal:
            out.width = PLAIN_WIDTH
        terminal.show(out, results)
    if options.html:
        options.html.write_text(page(results, load), encoding="utf-8")
