"""``flask state copy, export, import, backup, restore``: move the state of an application."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any, TypeVar

import click
from flask import current_app

from ..errors import NotSupported
from ..state import State
from . import differences, transfer
from .backup import backup as write_backup
from .backup import check as check_backup
from .backup import restore as read_backup
from .group import as_json, command, print_table

T = TypeVar("T")

_ADDRESS_SETTINGS = ("CACHE_URL", "CACHE_TYPE", "CACHE_DIR", "CACHE_REDIS_", "CACHE_MEMCACHED_")

trust_option = click.option(
    "--trust-pickle", is_flag=True, help="Also take pickles, which run code of their writer."
)
dry_run_option = click.option("--dry-run", is_flag=True, help="Only say what would be done.")
overwrite_option = click.option("--overwrite", is_flag=True, help="Replace keys that are there.")
prefix_option = click.option("--prefix", default="", help="Only keys that start with this.")


@command("copy")
@click.option("--to", "url", required=True, help="The CACHE_URL of the store to copy to.")
@prefix_option
@overwrite_option
@click.option("--again", is_flag=True, help="Copy what has changed since, remove what is gone.")
@dry_run_option
@as_json
def copy(
    state: State,
    url: str,
    prefix: str,
    overwrite: bool,
    again: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Copy values, counters and their remaining times to another store.

    In two steps: while the application runs, and with --again when nothing writes any more, before
    anything uses the other store. At its end it compares both, and fails if they differ.
    """
    target = State.from_settings(
        {**_settings_without_address(), "CACHE_URL": url}, current_app.config
    )
    try:
        tallies = (
            _copied_again(state, target, prefix, dry_run)
            if again
            else transfer.copy(state, target, prefix, overwrite=overwrite, dry_run=dry_run)
        )
        if not dry_run:
            tallies = _compared(tallies, state, target, prefix)
        total = None if again else state.store.measure().get("entries")
        _finish(tallies, "Copying", dry_run, as_json, total)
    finally:
        target.close()


@command("export")
@click.argument("file", type=click.File("w", encoding="utf-8", lazy=True), default="-")
@prefix_option
def export(state: State, file: IO[str], prefix: str) -> None:
    """Write a JSON line for each key to FILE, or to standard output.

    Sessions, locks and once tokens are left out, and named; backup takes everything.
    """
    tally = transfer.Tally()
    for line in transfer.export(state, prefix, tally):
        file.write(f"{line}\n")
    _say_what_is_left(tally)


@command("backup")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@as_json
def backup(state: State, file: Path, as_json: bool) -> None:
    """Write everything to FILE while the application runs: keys, sessions, locks, tokens.

    As it stood at one moment on filesystem, lmdb and simple; elsewhere record by record.
    """
    number = write_backup(state, file)
    print_table({"records": number, "one_moment": state.store.snapshot_is_atomic}, as_json)


@command("restore")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--overwrite", is_flag=True, help="Remove everything that is there first.")
@click.option("--anew", is_flag=True, help="Set the store's files, damaged or not, aside first.")
@trust_option
@as_json
def restore(
    state: State, file: Path, overwrite: bool, anew: bool, trust_pickle: bool, as_json: bool
) -> None:
    """Store what backup wrote to FILE. Stop the application first: what it writes may be lost."""
    check_backup(state, file, trust_pickle=trust_pickle)
    rows: dict[str, Any] = {"set_aside": state.store.set_aside()} if anew else {}
    number = read_backup(state, file, overwrite=overwrite, trust_pickle=trust_pickle)
    print_table({**rows, "records": number}, as_json)


@command("import")
@click.argument("file", type=click.File("r", encoding="utf-8"), default="-")
@overwrite_option
@dry_run_option
@trust_option
@as_json
def import_(
    state: State,
    file: IO[str],
    overwrite: bool,
    dry_run: bool,
    trust_pickle: bool,
    as_json: bool,
) -> None:
    """Store what export wrote, from FILE or standard input."""
    tallies = transfer.load(
        state, file, overwrite=overwrite, dry_run=dry_run, trust_pickle=trust_pickle
    )
    _finish(tallies, "Importing", dry_run, as_json, None)


def _copied_again(
    source: State, target: State, prefix: str, dry_run: bool
) -> Iterator[transfer.Tally]:
    tally = transfer.Tally()
    found = differences.changed(source, target, prefix, tally)
    yield from differences.catch_up(target, found, tally, dry_run=dry_run)
    found = differences.removed(source, target, prefix)
    yield from _where_listed(differences.catch_up(target, found, tally, dry_run=dry_run))
    yield tally


def _compared(
    tallies: Iterator[transfer.Tally], source: State, target: State, prefix: str
) -> Iterator[transfer.Tally]:
    """The tallies, and one that says how many records are not the same in both."""
    for tally in tallies:  # there is always one
        yield tally
    if not tally.refused:
        found = differences.changed(source, target, prefix, transfer.Tally())
        gone = _where_listed(differences.removed(source, target, prefix))
        tally.differ = sum(1 for _ in (*found, *gone))
        yield tally


def _where_listed(found: Iterator[T]) -> Iterator[T]:
    """The same, or nothing and a warning where the target cannot list its keys."""
    try:
        yield from found
    except NotSupported as error:
        click.echo(f"what the source has no more was not looked for: {error}", err=True)


def _finish(
    tallies: Iterator[transfer.Tally],
    what: str,
    dry_run: bool,
    as_json: bool,
    total: int | None,
) -> None:
    """Run a transfer and say what it did; for people with a progress bar."""
    tally = transfer.Tally()
    is_shown = total is not None and not as_json
    for tally in _with_progress(tallies, what, total) if is_shown else tallies:  # noqa: B007
        pass
    verb = "would write" if dry_run else "written"
    rows = {verb.replace(" ", "_"): tally.written, "refused": tally.refused}
    rows |= {"removed": tally.removed} if tally.removed else {}
    rows |= {} if tally.differ is None else {"differ": tally.differ}
    print_table(rows, as_json)
    _say_what_is_left(tally)
    if tally.differ:
        raise click.ClickException(
            f"{tally.differ} records were written or removed while they were copied, or are in the "
            "other store only: stop what writes, and run this once more with --again"
        )
    if tally.refused:
        raise click.ClickException(
            f"{tally.refused} keys are there already and were left as they are; "
            "--overwrite replaces them"
        )


def _say_what_is_left(tally: transfer.Tally) -> None:
    if tally.left:
        named = ", ".join(f"{name} ({number:,})" for name, number in tally.left.items())
        click.echo(f"left out: {named}", err=True)


def _with_progress(
    tallies: Iterator[transfer.Tally], what: str, total: int | None
) -> Iterator[transfer.Tally]:
    shown = 0
    bar: Any = click.progressbar(length=total, label=what, file=sys.stderr)
    with bar:
        for tally in tallies:
            done = tally.written + tally.refused
            bar.update(done - shown)
            shown = done
            yield tally


def _settings_without_address() -> Mapping[str, Any]:
    settings = current_app.extensions["sharedstate"].settings
    return {
        name: value for name, value in settings.items() if not name.startswith(_ADDRESS_SETTINGS)
    }
