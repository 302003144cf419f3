"""``flask state …``: look at the state of an application, change it and move it."""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import IO, Any

import click
from flask import current_app
from flask.cli import AppGroup

from . import transfer
from .check import check_state
from .codec import JSONCodec
from .errors import SharedStateError
from .state import State

state_group = AppGroup("state", help="Look at the shared state, change it and move it.")

_ADDRESS_SETTINGS = ("CACHE_URL", "CACHE_TYPE", "CACHE_DIR", "CACHE_REDIS_", "CACHE_MEMCACHED_")

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")
prefix_option = click.option("--prefix", default="", help="Only keys that start with this.")
overwrite_option = click.option("--overwrite", is_flag=True, help="Replace keys that are there.")
dry_run_option = click.option("--dry-run", is_flag=True, help="Only say what would be done.")
timeout_option = click.option("--timeout", type=float, help="Seconds until it expires; 0: never.")


def command(name: str) -> Callable[[Callable[..., None]], click.Command]:
    """A command of the group, with the library's errors as one line on standard error."""

    def decorate(function: Callable[..., None]) -> click.Command:
        @functools.wraps(function)
        def run(*args: Any, **kwargs: Any) -> None:
            try:
                function(_state(), *args, **kwargs)
            except (SharedStateError, ValueError, TypeError) as error:
                raise click.ClickException(str(error)) from error

        decorated: click.Command = state_group.command(name)(run)
        return decorated

    return decorate


@command("get")
@click.argument("key")
@as_json
def get(state: State, key: str, as_json: bool) -> None:
    """Print the value of KEY; the exit code is 1 if there is none."""
    item = state.item(key)
    if item is None:
        raise click.ClickException(f"there is no key {key!r}")
    if as_json:
        click.echo(_json({"key": key, "value": item.value, "ttl": item.ttl or None}))
    else:
        click.echo(_text(item.value))


@command("set")
@click.argument("key")
@click.argument("value")
@click.option("--text", is_flag=True, help="VALUE is text as it stands, not JSON.")
@timeout_option
def set_(state: State, key: str, value: str, text: bool, timeout: float | None) -> None:
    """Store VALUE, which is JSON, under KEY."""
    try:
        parsed = value if text else json.loads(value)
    except ValueError as error:
        raise click.UsageError(f"VALUE is not JSON ({error}); for text add --text") from error
    state.set(key, parsed, timeout)


@command("inc")
@click.argument("key")
@click.argument("delta", type=int, default=1)
@click.option("--initial", type=int, default=0, help="What a missing counter starts from.")
@click.option("--minimum", type=int, help="Refuse to go below.")
@click.option("--maximum", type=int, help="Refuse to go above.")
@click.option("--once", help="A token: a repeat with the same one changes nothing.")
@timeout_option
@as_json
def inc(state: State, key: str, delta: int, as_json: bool, **options: Any) -> None:
    """Add DELTA (1) to the counter KEY and print the new number. Write -- before a negative one."""
    number = state.inc(key, delta, **options)
    click.echo(_json({"key": key, "value": number}) if as_json else number)


@command("delete")
@click.argument("keys", nargs=-1, required=True)
def delete(state: State, keys: tuple[str, ...]) -> None:
    """Remove KEYS; the exit code is 1 if one of them was not there."""
    missing = set(keys) - set(state.delete_many(*keys))
    if missing:
        raise click.ClickException(f"not there: {', '.join(sorted(missing))}")


@command("keys")
@click.argument("prefix", default="")
@as_json
def keys(state: State, prefix: str, as_json: bool) -> None:
    """Print the keys that start with PREFIX, one a line."""
    found = sorted(state.keys(prefix))
    if as_json:
        click.echo(_json(found))
        return
    for key in found:
        click.echo(key)


@command("ttl")
@click.argument("key")
@as_json
def ttl(state: State, key: str, as_json: bool) -> None:
    """Print in how many seconds KEY expires, or never."""
    left = state.ttl(key)
    if left is None:
        raise click.ClickException(f"there is no key {key!r}")
    if as_json:
        click.echo(_json({"key": key, "ttl": left or None}))
    else:
        click.echo(left or "never")


@command("info")
@as_json
def info(state: State, as_json: bool) -> None:
    """Say what the store is, where it is, and how much it holds."""
    store = state.store
    _print_table(
        {
            "type": store.name,
            "scope": store.scope,
            **store.describe(),
            "codec": state.codec.name,
            "prefix": state.key_prefix,
            "can": sorted(store.can),
            **store.measure(),
        },
        as_json,
    )


@command("check")
@as_json
def check(state: State, as_json: bool) -> None:
    """Do a round trip with each operation; say what is wrong, and how to mend it."""
    failures = 0
    results = {}
    for operation, problem in check_state(state):
        failures += problem is not None
        results[operation] = problem or "ok"
    _print_table(results, as_json)
    if failures:
        raise click.exceptions.Exit(1)


@command("purge")
@as_json
def purge(state: State, as_json: bool) -> None:
    """Remove what has expired and still takes room."""
    _print_table({"removed": state.store.purge()}, as_json)


@command("copy")
@click.option("--to", "url", required=True, help="The CACHE_URL of the store to copy to.")
@prefix_option
@overwrite_option
@dry_run_option
@as_json
def copy(
    state: State, url: str, prefix: str, overwrite: bool, dry_run: bool, as_json: bool
) -> None:
    """Copy values, counters and their remaining times to another store."""
    target = State.from_settings({**_settings_without_address(), "CACHE_URL": url})
    try:
        tallies = transfer.copy(state, target, prefix, overwrite=overwrite, dry_run=dry_run)
        _finish(tallies, "Copying", dry_run, as_json, state.store.measure().get("entries"))
    finally:
        target.close()


@command("export")
@click.argument("file", type=click.File("w", encoding="utf-8", lazy=True), default="-")
@prefix_option
def export(state: State, file: IO[str], prefix: str) -> None:
    """Write a JSON line for each key to FILE, or to standard output."""
    for line in transfer.export(state, prefix):
        file.write(f"{line}\n")


@command("import")
@click.argument("file", type=click.File("r", encoding="utf-8"), default="-")
@overwrite_option
@dry_run_option
@as_json
def import_(state: State, file: IO[str], overwrite: bool, dry_run: bool, as_json: bool) -> None:
    """Store what export wrote, from FILE or standard input."""
    tallies = transfer.load(state, file, overwrite=overwrite, dry_run=dry_run)
    _finish(tallies, "Importing", dry_run, as_json, None)


@command("ddl")
def ddl(state: State) -> None:
    """Print the statements that make the table of CACHE_TYPE database, for who may run them."""
    if state.store.name != "database":
        raise click.UsageError(f"the store is {state.store.name!r}, which has no table")
    from .stores import database

    settings = current_app.extensions["sharedstate"].settings
    url = settings.get("CACHE_URL") or settings["CACHE_DATABASE_URL"]
    table = settings.get("CACHE_DATABASE_TABLE") or database.DEFAULT_TABLE
    click.echo(database.ddl(url, table))


@command("manager")
def manager(state: State) -> None:
    """Run the process that keeps the state of CACHE_TYPE manager, for a supervisor."""
    if state.store.name != "manager":
        raise click.UsageError(
            f"the store is {state.store.name!r}; for this one set CACHE_TYPE to manager"
        )
    from .stores.manager import run_manager

    run_manager(current_app.extensions["sharedstate"].settings)


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
    _print_table({verb.replace(" ", "_"): tally.written, "refused": tally.refused}, as_json)
    if tally.refused:
        raise click.ClickException(
            f"{tally.refused} keys are there already and were left as they are; "
            "--overwrite replaces them"
        )


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


def _state() -> State:
    state: State = current_app.extensions["sharedstate"].state
    return state


def _settings_without_address() -> Mapping[str, Any]:
    settings = current_app.extensions["sharedstate"].settings
    return {
        name: value for name, value in settings.items() if not name.startswith(_ADDRESS_SETTINGS)
    }


def _print_table(rows: Mapping[str, Any], as_json: bool) -> None:
    if as_json:
        click.echo(_json(rows))
        return
    width = max(map(len, rows))
    for name, value in rows.items():
        text = ", ".join(value) if isinstance(value, list) else value
        click.echo(f"{name:{width}}  {text}")


def _text(value: Any) -> str:
    """A value for people: text as it is, the rest as JSON where JSON has it."""
    if isinstance(value, str):
        return value
    try:
        return JSONCodec().encode(value).decode()
    except SharedStateError:
        return repr(value)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=repr)
