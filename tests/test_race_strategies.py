"""Every strategy's application counts, as long as it is asked by one at a time."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path

import pytest
from flask import Flask

from race import target
from race.clients import WORKER_HEADER
from race.processes import reserved_port, running
from race.programs import PROGRAMS, program
from race.recipes import SERVERS
from race.runner import Load, run, what_is_missing
from race.strategies import STRATEGIES
from race.strategy import Strategy
from race.verdict import Outcome, judge

NEVER_RIGHT = {
    "g": Outcome.WRONG,
    "cookie-parallel": Outcome.WRONG,
    "get-set-recipe": Outcome.FAILED,  # the name of its backend is gone
}


def test_names():
    """Names are for the command line, titles for people; each is there once."""
    assert all(name == strategy.name for name, strategy in STRATEGIES.items())
    titles = [strategy.title for strategy in STRATEGIES.values()]
    assert len(set(titles)) == len(titles)
    assert {one.program for one in STRATEGIES.values()} - {""} == set(PROGRAMS)


@pytest.mark.slow
@pytest.mark.parametrize("strategy", STRATEGIES.values(), ids=STRATEGIES)
def test_one_at_a_time(strategy: Strategy):
    """On a server that cannot race each strategy gives right numbers, but for some."""
    if lacking := what_is_missing(strategy, "flask-single"):
        pytest.skip(f"{lacking} is not installed")
    found = judge(run(strategy, "flask-single", Load(clients=3, rounds=2)))
    assert found.verdict.outcome is NEVER_RIGHT.get(strategy.name, Outcome.SERIAL), found


@pytest.mark.slow
@pytest.mark.parametrize("name", PROGRAMS)
def test_programs_stop(name: str, tmp_path: Path):
    """A program is there while it is needed, and gone after."""
    with ExitStack() as stack:
        address = stack.enter_context(program(name, tmp_path))
        assert address
    assert not (tmp_path / "manager").exists()


def test_program_that_does_not_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A program that ends at once is an error with what it said."""
    broken = [sys.executable, "-c", "raise SystemExit('boom')"]
    monkeypatch.setattr(
        "race.programs.running", lambda command, log, env: running(broken, log, env=env)
    )
    with pytest.raises(RuntimeError, match="boom"), program("manager", tmp_path):
        pass


def test_missing(monkeypatch: pytest.MonkeyPatch):
    """A package or a program that is missing is named, and the race is skipped."""
    monkeypatch.setattr("race.runner.find_spec", lambda name: None if name == "lmdb" else name)
    race = run(STRATEGIES["ours-lmdb"], "flask-single", Load())
    assert race.skipped == "lmdb is not installed"
    monkeypatch.setattr("race.programs.find_program", lambda name: None)
    assert run(STRATEGIES["ours-memcached"], "flask-single", Load()).skipped.startswith("memcached")


def test_a_server_that_does_not_start(monkeypatch: pytest.MonkeyPatch):
    """An application that cannot be imported is a failed race, with the reason."""
    broken = Strategy("broken", "broken", "race.nothing:app")
    found = judge(run(broken, "flask-single", Load(clients=1, rounds=1)))
    assert found.verdict.outcome is Outcome.FAILED
    assert "race.nothing" in found.verdict.why


def wsgi(environ, start_response):
    start_response("200 OK", [])
    return [b"7"]


class Framework:
    """An application that is an object, as those of other frameworks are."""

    def __call__(self, environ, start_response):
        return wsgi(environ, start_response)


flask_app = Flask(__name__)
flask_app.add_url_rule("/", view_func=lambda: "7")
framework_app = Framework()


def factory(config=None, *, debug=False):
    return flask_app


@pytest.mark.parametrize(
    "name", ["wsgi", "framework_app", "flask_app", "factory", "factory()", "Framework"]
)
def test_target(name: str, monkeypatch: pytest.MonkeyPatch):
    """An application or a factory of one, of Flask or not, is served with its process's number."""
    monkeypatch.setenv(target.TARGET_VARIABLE, f"{__name__}:{name}")
    monkeypatch.setattr(flask_app, "wsgi_app", flask_app.wsgi_app)
    answer = target.create_app().test_client().get("/")
    assert answer.data == b"7"
    assert answer.headers[WORKER_HEADER].isdigit()


def test_no_target():
    """What is no application is refused."""
    with pytest.raises(TypeError, match="no WSGI application"):
        target.load("race.processes:HOST")


def test_ports_are_not_given_twice():
    """Two reserved ports are two ports."""
    with reserved_port() as first, reserved_port() as second:
        assert first != second


def test_every_server_has_a_title():
    """A server is shown under a title of its own."""
    titles = {recipe.title for recipe in SERVERS.values()}
    assert "" not in titles
    assert len(titles) == len(SERVERS)
