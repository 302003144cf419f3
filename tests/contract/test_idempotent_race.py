"""Requests that come at the same moment with one ``Idempotency-Key`` are done once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import crowd
import pytest
from backends import BACKENDS, CROWDS, ON_ALL, ONE_OF_EACH_KIND
from flask import Flask
from flask.testing import FlaskClient
from get_then_set import chances
from shop import Maker, is_replay

from sharedstate import State

pytestmark = ONE_OF_EACH_KIND


# The race: eight workers send the same requests at the same moment.
def ask_guarded(state: State, me: int, times: int) -> Any:
    yield from _ask(state, Maker(state).idempotent(wait=60), times)


def ask_unguarded(state: State, me: int, times: int) -> Any:
    """The negative control: who finds no response runs the view and stores what it returns."""
    yield from _ask(state, lambda view: partial(_look_then_run, state, view), times)


def _look_then_run(state: State, view: Callable[[str], str], item: str) -> str:
    found: str | None = state.get(f"response {item}")
    if found is None:
        found = view(item)
        state.set(f"response {item}", found)
    return found


# Rules are compiled, and compiling in several threads fails at times (CPython gh-106905).
_COMPILING = threading.Lock()


def _ask(state: State, decorate: Callable[[Callable[[str], str]], Any], times: int) -> Any:
    view = decorate(lambda item: str(state.inc(f"paid {item}")))
    with _COMPILING:
        app = Flask("app")
        app.add_url_rule("/<item>", "pay", view, methods=["POST"])
    client = app.test_client()
    for item in range(times):
        yield crowd.GATE
        yield partial(_text, client, item)


def _text(client: FlaskClient, item: int) -> tuple[int, str, bool]:
    response = client.post(f"/{item}", headers={"Idempotency-Key": f"key {item}"})
    return item, response.text, is_replay(response)


def _paid(state: State, times: int) -> list[int]:
    return [state.get(f"paid {item}") for item in range(times)]


@ON_ALL
@pytest.mark.slow
@pytest.mark.parametrize("backend, kind", CROWDS)
def test_race(backend: Any, kind: str, race_settings: dict[str, str]) -> None:
    """Each request is done once, on every store, and all get its response."""
    open_state = partial(State.from_settings, race_settings)
    work, look = partial(ask_guarded, times=6), partial(_paid, times=6)
    outcome = crowd.run(kind, open_state, work, 8, look)
    results = sorted(call.result for call in outcome.answers)
    assert results == sorted([(n, "1", i > 0) for n in range(6) for i in range(8)])
    assert outcome.found == [1] * 6


@pytest.mark.slow
@pytest.mark.parametrize("backend", [b for b in BACKENDS if b.id == "filesystem"], ids=["files"])
def test_race_control(backend: Any, cache_settings: dict[str, str]) -> None:
    """Looking before the response is stored does some requests more than once."""
    work, look = partial(ask_unguarded, times=20), partial(_paid, times=20)
    outcomes = (crowd.run("forked", each, work, 5, look) for each in chances(cache_settings))
    assert any(max(outcome.found) > 1 for outcome in outcomes)
