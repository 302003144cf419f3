"""The group ``flask state`` and what its commands share."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping
from typing import Any

import click
from flask import current_app
from flask.cli import AppGroup

from ..errors import SharedStateError
from ..state import State

state_group = AppGroup("state", help="Look at the shared state, change it and move it.")

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")


def command(name: str) -> Callable[[Callable[..., None]], click.Command]:
    """A command of the group, with the library's errors as one line on standard error."""

    def decorate(function: Callable[..., None]) -> click.Command:
        @functools.wraps(function)
        def run(*args: Any, **kwargs: Any) -> None:
            try:
                function(_state(), *args, **kwargs)
            except BrokenPipeError:  # A reader that left, as `head` does; click ends in silence.
                raise
            except (SharedStateError, OSError, ValueError, TypeError) as error:
                raise click.ClickException(str(error)) from error

        decorated: click.Command = state_group.command(name)(run)
        return decorated

    return decorate


def _state() -> State:
    state: State = current_app.extensions["sharedstate"].state
    return state


def print_table(rows: Mapping[str, Any], as_json: bool) -> None:
    if as_json:
        click.echo(to_json(rows))
        return
    width = max(map(len, rows))
    for name, value in rows.items():
        text = ", ".join(value) if isinstance(value, list) else value
        click.echo(f"{name:{width}}  {text}")


def to_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=repr)
