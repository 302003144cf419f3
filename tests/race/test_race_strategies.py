"""Every strategy's application counts, as long as it is asked by one at a time."""

from __future__ import annotations

import importlib
import multiprocessing
import os
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from werkzeug.serving import make_server

from race import runner
from race.clients import target
from race.clients.rush import WORKER_HEADER
from race.judging.verdict import Outcome, judge
from race.runner import Load, Place, run, what_is_missing
from race.servers import serve
from race.servers.processes import reserved_port, running
from race.servers.programs import PROGRAMS, program
from race.servers.recipes import RUNNING, SERVERS, has
from race.strategies.table import STRATEGIES
from race.strategy import Strategy

SECONDS = 60  # Guards against a hang, and nothing else.

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


@pytest.fixture(scope="module")
def _loaded():
    """What the strategies need is loaded once, and is there in each of the forked processes."""
    with warnings.catch_warnings(action="ignore"):
        for package in {package for one in STRATEGIES.values() for package in one.needs}:
            if has(package):
                importlib.import_module(package)


@pytest.mark.slow
@pytest.mark.usefixtures("_loaded")
@pytest.mark.parametrize("name", [one.name for one in STRATEGIES.values() if not one.servers])
def test_one_at_a_time(name: str):
    """On a server that cannot race each strategy gives right numbers, but for some."""
    if lacking := what_is_missing(STRATEGIES[name], "flask-single"):
        pytest.skip(lacking)
    outcome, found = in_a_fork(race_alone, name)
    assert outcome is NEVER_RIGHT.get(name, Outcome.SERIAL), found


def race_alone(name: str) -> tuple[Outcome, str]:
    """How a race ends on a server of this process, which works on one request at a time."""
    strategy = STRATEGIES[name]
    with warnings.catch_warnings(action="default"), ExitStack() as stack:
        settings = runner._environment(strategy, Place(), stack)
        tempfile.tempdir = settings["TMPDIR"]
        environment = serve._environment(settings)
        os.environ.clear()
        os.environ.update(environment)
        try:
            server = make_server("127.0.0.1", 0, target.create_app())
        except ImportError as error:
            return Outcome.FAILED, str(error)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.port}"
        race = run(strategy, RUNNING, Load(clients=3, rounds=2), place=Place(url=url))
        found = judge(replace(race, server="flask-single"))
        return found.verdict.outcome, str(found)


def in_a_fork(function: Callable[[str], Any], name: str) -> Any:
    """What a function returns in a process of its own, where it may change what it likes."""
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=lambda: sender.send(function(name)))
    process.start()
    sender.close()
    try:
        return receiver.recv()
    finally:
        receiver.close()
        process.join(SECONDS)
        process.kill()
        process.join()


@pytest.mark.slow
def test_the_stash_of_gunicorn_loses_updates():
    """Under several workers its get and put count, and are seen to give numbers twice."""
    found = judge(run(STRATEGIES["stash"], "gunicorn-sync", Load(rounds=3)))
    assert found.verdict.outcome is Outcome.WRONG, found
    assert found.findings is not None and found.findings.twice > 0
    assert 4 * found.findings.commonest.times < found.findings.requests
    assert "increment" in found.verdict.why


def test_a_strategy_of_one_server():
    """What is a part of a server is skipped under the others, with the reason."""
    race = run(STRATEGIES["stash"], "waitress", Load())
    assert race.skipped == "it is a part of gunicorn"


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
        "race.servers.programs.running", lambda command, log, env: running(broken, log, env=env)
    )
    with pytest.raises(RuntimeError, match="boom"), program("manager", tmp_path):
        pass


def test_missing(monkeypatch: pytest.MonkeyPatch):
    """A package or a program that is missing is named, and the race is skipped."""
    monkeypatch.setattr(
        "race.servers.recipes.find_spec", lambda name: None if name == "lmdb" else name
    )
    race = run(STRATEGIES["ours-lmdb"], "flask-single", Load())
    assert race.skipped == "lmdb is not installed"
    monkeypatch.setattr("race.servers.programs.find_program", lambda name: None)
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
    response = target.create_app().test_client().get("/")
    assert response.data == b"7"
    assert response.headers[WORKER_HEADER].isdigit()


def named(first: str, *names: str, sep: str = " "):
    app = Flask(__name__)
    app.add_url_rule("/", view_func=lambda: sep.join([first, *names]))
    return app


@pytest.mark.parametrize(
    ("call", "text"), [("named('a', 'b')", "a b"), ('named("(", ")", sep="")', "()")]
)
def test_a_factory_with_arguments(call: str, text: str, monkeypatch: pytest.MonkeyPatch):
    """A factory is called with the literals that the target has."""
    monkeypatch.setenv(target.TARGET_VARIABLE, f"{__name__}:{call}")
    assert target.create_app().test_client().get("/").text == text


@pytest.mark.parametrize("call", ["named(exit())", "[].append(1)", "named(*[])", "1 + (2)"])
def test_arguments_are_literals(call: str):
    """Nothing in a target is evaluated but the factory's own call."""
    with pytest.raises((ValueError, AttributeError, ModuleNotFoundError)):
        target.load(f"{__name__}:{call}")


def test_no_target():
    """What is no application is refused."""
    with pytest.raises(TypeError, match="no WSGI application"):
        target.load("race.servers.processes:HOST")


def test_ports_are_not_given_twice():
    """Two reserved ports are two ports."""
    with reserved_port() as first, reserved_port() as second:
        assert first != second


def test_every_server_has_a_title():
    """A server is shown under a title of its own."""
    titles = {recipe.title for recipe in SERVERS.values()}
    assert "" not in titles
    assert len(titles) == len(SERVERS)
