"""``flask state get, set, inc, …``: look at the state of an application and change it."""

from __future__ import annotations

import json
import unicodedata
from typing import Any

import click
from flask import current_app

from ..codec import JSONCodec
from ..errors import SharedStateError
from ..settings import changed, table
from ..state import State
from .check import check_state
from .group import as_json, command, print_table, to_json
from .records import counts

timeout_option = click.option("--timeout", type=float, help="Seconds until it expires; 0: never.")


@command("get")
@click.argument("key")
@as_json
def get(state: State, key: str, as_json: bool) -> None:
    """Print the value of KEY; the exit code is 1 if there is none."""
    item = state.item(key)
    if item is None:
        raise click.ClickException(f"there is no key {key!r}")
    if as_json:
        click.echo(to_json({"key": key, "value": item.value, "ttl": item.ttl or None}))
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
    except RecursionError:
        raise click.UsageError("VALUE is nested too deeply to be read") from None
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
    click.echo(to_json({"key": key, "value": number}) if as_json else number)


@command("delete")
@click.argument("keys", nargs=-1, required=True)
def delete(state: State, keys: tuple[str, ...]) -> None:
    """Remove KEYS; the exit code is 1 if one of them was not there."""
    missing = set(keys) - set(state.delete_many(*keys))
    if missing:
        raise click.ClickException(f"not there: {', '.join(sorted(missing))}")


@command("keys")
@click.argument("prefix", default="")
@click.option("--namespace", help="Those of sessions, locks, …: a name that info prints.")
@as_json
def keys(state: State, prefix: str, namespace: str | None, as_json: bool) -> None:
    """Print the keys that start with PREFIX, one a line."""
    space = state.namespace(namespace) if namespace else state
    found = sorted(space.keys(prefix))
    if as_json:
        click.echo(to_json(found))
        return
    for key in found:
        click.echo(_printable(key))


@command("ttl")
@click.argument("key")
@as_json
def ttl(state: State, key: str, as_json: bool) -> None:
    """Print in how many seconds KEY expires, or never."""
    left = state.ttl(key)
    if left is None:
        raise click.ClickException(f"there is no key {key!r}")
    if as_json:
        click.echo(to_json({"key": key, "ttl": left or None}))
    else:
        click.echo(left or "never")


@command("info")
@as_json
def info(state: State, as_json: bool) -> None:
    """Say what the store is, where it is, and how much it holds."""
    store = state.store
    rows = {
        "type": store.name,
        "scope": store.scope,
        **store.describe(),
        "codec": state.codec.name,
        "prefix": state.key_prefix,
        "can": sorted(store.can),
        **store.measure(),
    }
    if "keys" in store.can:
        found = counts(state)
        rows["namespaces"] = found if as_json else [f"{name} ({n:,})" for name, n in found.items()]
    settings = _changed_settings()
    rows["settings"] = settings if as_json else [f"{n}={value}" for n, value in settings.items()]
    print_table(rows, as_json)


@command("check")
@as_json
def check(state: State, as_json: bool) -> None:
    """Do a round trip with each operation; say what is wrong, and how to fix it."""
    failures = 0
    results = {}
    workers = current_app.config.get("WORKERS")
    for operation, problem in check_state(state, workers if isinstance(workers, int) else 1):
        failures += problem is not None
        results[operation] = problem or "ok"
    print_table(results, as_json)
    if failures:
        raise click.exceptions.Exit(1)


@command("purge")
@as_json
def purge(state: State, as_json: bool) -> None:
    """Remove what has expired and still takes room."""
    print_table({"removed": state.store.purge()}, as_json)


@command("ddl")
def ddl(state: State) -> None:
    """Print the statements that make the table of CACHE_TYPE database, for who may run them."""
    if state.store.name != "database":
        raise click.UsageError(f"the store is {state.store.name!r}, which has no table")
    from ..stores.database import store as database

    settings = current_app.extensions["sharedstate"].settings
    url = settings["CACHE_URL"] or settings["CACHE_DATABASE_URL"]
    click.echo(database.ddl(url, settings["CACHE_DATABASE_TABLE"]))


@command("manager")
def manager(state: State) -> None:
    """Run the process that keeps the state of CACHE_TYPE manager, for a supervisor."""
    if state.store.name != "manager":
        raise click.UsageError(
            f"the store is {state.store.name!r}; for this one set CACHE_TYPE to manager"
        )
    from ..stores.manager.store import run_manager

    run_manager(current_app.extensions["sharedstate"].settings)


def _changed_settings() -> dict[str, Any]:
    """The settings that differ from their defaults, secrets hidden; those of a service too."""
    extensions = current_app.extensions
    of_service: dict[str, Any] = extensions.get("sharedstate_settings", {})
    return changed(table(), extensions["sharedstate"].settings) | of_service


def _text(value: Any) -> str:
    """A value for people: text as it is, the rest as JSON where JSON has it."""
    if isinstance(value, str):
        return _printable(value)
    try:
        return JSONCodec().encode(value).decode()
    except SharedStateError:
        return repr(value)


def _printable(text: str) -> str:
    """Text without what a terminal would obey: escape sequences are shown, not sent."""
    return "".join(
        char if char in "\n\t" or unicodedata.category(char) != "Cc" else repr(char)[1:-1]
        for char in text
    )
