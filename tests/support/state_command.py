"""What the tests of ``flask state`` share: an application, its state, and how to run a command."""

from __future__ import annotations

from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskCliRunner

from sharedstate import Cache, State


@pytest.fixture
def app(tmp_path: Path) -> Flask:
    app = Flask(__name__, instance_path=str(tmp_path))
    app.config.update(CACHE_TYPE="filesystem", CACHE_DIR=tmp_path / "here", CACHE_CODEC="json")
    Cache(app)
    return app


@pytest.fixture
def state(app: Flask) -> State:
    return app.extensions["sharedstate"].state


@pytest.fixture
def run(app: Flask):
    """Runs a command; returns its exit code, its standard output, and that of errors."""
    runner: FlaskCliRunner = app.test_cli_runner()

    def run(*arguments: str, stdin: str | None = None) -> tuple[int, str, str]:
        done = runner.invoke(args=["state", *arguments], input=stdin)
        return done.exit_code, done.stdout, done.stderr

    return run


@pytest.fixture
def elsewhere(tmp_path: Path) -> str:
    return f"lmdb://{tmp_path / 'elsewhere'}"


def state_at(url: str) -> State:
    return State.from_settings({"CACHE_URL": url, "CACHE_CODEC": "json"})


def fill_all(state: State) -> int:
    """Keys, a session, a token and a fence; returns the fence."""
    state.set_many({"a": "ours", "n": 7})
    state.set("short", [1], 60)
    state.namespace("session").set("sid", {"user": 1}, 60)
    state.inc("paid", 50, once="order")
    with state.lock("job") as lock:
        return lock.fence
