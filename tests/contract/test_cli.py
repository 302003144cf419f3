"""``flask state …``, as users and scripts call it."""

# ruff: noqa: F811  # the fixtures that are imported are arguments of the tests

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import pytest
from flask import Flask
from redis_servers import redis_server
from state_command import app, fill_all, run, state  # noqa: F401  # fixtures

import app as service
from sharedstate import Cache, State

ROOT = Path(__file__).parents[2]


def test_every_command_has_help(run):
    """Each command of the group explains itself."""
    commands = ["get", "set", "inc", "delete", "keys", "ttl", "info", "check", "purge"]
    commands += ["copy", "export", "import", "backup", "restore", "manager", "ddl"]
    listed = run("--help")[1]
    for command in commands:
        assert command in listed
        code, help_text, _ = run(command, "--help")
        assert code == 0
        assert "Usage:" in help_text


def test_values_are_set_shown_and_removed(run, state):
    """``set`` takes JSON or text, ``get`` prints it, ``delete`` removes it."""
    assert run("set", "a", '{"b": [1, "ü"]}') == (0, "", "")
    assert state.get("a") == {"b": [1, "ü"]}
    assert run("get", "a")[1] == '{"b":[1,"ü"]}\n'
    run("set", "t", "hello", "--text", "--timeout", "60")
    assert run("get", "t")[1] == "hello\n"
    shown = json.loads(run("get", "t", "--json")[1])
    assert (shown["key"], shown["value"]) == ("t", "hello")
    assert 30 < shown["ttl"] <= 60
    assert run("delete", "a", "t")[0] == 0
    assert state.keys() == []


def test_what_is_missing_is_exit_code_1(run):
    """A key that is not there is an error on standard error, and nothing on standard output."""
    for command in ("get", "ttl", "delete"):
        code, out, error = run(command, "nope")
        assert (code, out) == (1, "")
        assert "nope" in error


def test_wrong_usage_is_exit_code_2(run, state):
    """What cannot be understood is refused with the remedy, and nothing changes."""
    code, _, error = run("set", "a", "hello")
    assert code == 2
    assert "--text" in error
    assert run("inc", "a", "x")[0] == 2
    assert run("copy")[0] == 2
    assert state.keys() == []


def test_counters_count(run, state):
    """``inc`` prints the new number, with all that a counter can do."""
    assert run("inc", "n")[1] == "1\n"
    assert run("inc", "n", "4")[1] == "5\n"
    assert run("inc", "n", "--", "-2")[1] == "3\n"
    assert json.loads(run("inc", "n", "--json", "--once", "x")[1]) == {"key": "n", "value": 4}
    assert run("inc", "n", "--once", "x")[1] == "4\n"
    code, _, error = run("inc", "n", "9", "--maximum", "5")
    assert code == 1
    assert "bounds" in error
    assert state.get("n") == 4


def test_keys_and_times_are_listed(run, state):
    """``keys`` lists by prefix, sorted; ``ttl`` says when a key expires."""
    state.set_many({"b": 1, "a2": 1, "a1": 1})
    assert run("keys", "a")[1] == "a1\na2\n"
    assert json.loads(run("keys", "--json")[1]) == ["a1", "a2", "b"]
    assert run("ttl", "b")[1] == "never\n"
    state.touch("b", 60)
    assert 30 < float(run("ttl", "b")[1]) <= 60


def test_info_says_what_the_store_is(run, state):
    """Type, place and size, for people and for scripts."""
    state.set("a", 1)
    found = json.loads(run("info", "--json")[1])
    assert found["type"] == "filesystem"
    assert found["entries"] == 1
    assert found["bytes"] > 0
    assert "filesystem" in run("info")[1]


def test_check_tries_every_operation_and_leaves_nothing(run, state):
    """A store that works passes each round trip, and holds what it held before."""
    code, out, _ = run("check", "--json")
    assert code == 0
    results = json.loads(out)
    assert len(results) > 10
    assert set(results.values()) == {"ok"}
    info = json.loads(run("info", "--json")[1])
    assert (info["entries"], info["namespaces"]) == (0, {})


def test_check_says_what_is_wrong_and_how_to_mend_it(tmp_path):
    """A store that is down is reported once, with the remedy, and the exit code is 1."""
    app = Flask(__name__, instance_path=str(tmp_path))
    Cache(app, config={"CACHE_URL": "redis://127.0.0.1:1"})
    done = app.test_cli_runner().invoke(args=["state", "check", "--json"])
    assert done.exit_code == 1
    assert list(json.loads(done.stdout)) == ["ping"]
    assert "start the store" in done.stdout


def test_purge_removes_what_has_expired(run, state):
    """Expired records are removed and counted, others stay."""
    state.set_many({str(number): number for number in range(200)}, 5)
    state.set("stays", 1)
    now = state.store.clock()
    state.store.clock = lambda: now + 10
    assert json.loads(run("purge", "--json")[1]) == {"removed": 200}
    assert state.store.measure()["entries"] == 1


def test_what_a_terminal_would_obey_is_shown(run, state):
    """An escape sequence in a value does not reach the terminal."""
    state.set("a", "\x1b]0;title\x07ü\n")
    assert run("get", "a")[1] == "\\x1b]0;title\\x07ü\n\n"


def test_info_names_what_is_beside_the_keys(run, state):
    """Sessions, tokens and fences are counted, and ``keys --namespace`` lists them."""
    fill_all(state)
    found = json.loads(run("info", "--json")[1])["namespaces"]
    assert found == {"lock/fence": 1, "once": 1, "session": 1}
    assert run("keys", "--namespace", "session")[1] == "sid\n"


@pytest.mark.slow
def test_check_warns_of_a_redis_that_forgets(tmp_path):
    """A server that may evict what it holds fails the check, with the remedy."""
    with redis_server(tmp_path, "--save", "", "--maxmemory-policy", "allkeys-lru") as server:
        app = Flask(__name__, instance_path=str(tmp_path))
        Cache(app, config={"CACHE_URL": f"redis://127.0.0.1:{server.port}"})
        done = app.test_cli_runner().invoke(args=["state", "check", "--json"])
    assert done.exit_code == 1
    results = json.loads(done.stdout)
    assert "noeviction" in results.pop("risks")
    assert set(results.values()) == {"ok"}


def test_check_warns_of_a_memory_for_each_worker(tmp_path):
    """``simple`` under several workers fails the check."""
    app = Flask(__name__, instance_path=str(tmp_path))
    app.config["WORKERS"] = 2
    Cache(app, config={"CACHE_TYPE": "simple"})
    done = app.test_cli_runner().invoke(args=["state", "check"])
    assert done.exit_code == 1
    assert "WORKERS is 2" in done.stdout


def test_the_table_is_printed_for_who_may_make_it(run, tmp_path):
    """``ddl`` prints statements that make the table, and is refused where there is none."""
    assert run("ddl")[0] == 2
    app = Flask(__name__, instance_path=str(tmp_path))
    Cache(app, config={"CACHE_URL": f"sqlite:///{tmp_path}/db", "CACHE_DATABASE_TABLE": "mine"})
    done = app.test_cli_runner().invoke(args=["state", "ddl"])
    assert done.exit_code == 0
    with closing(sqlite3.connect(":memory:")) as database:
        database.executescript(done.stdout)
        assert database.execute("SELECT count(*) FROM mine").fetchall() == [(0,)]


@pytest.mark.slow
def test_a_manager_is_run_for_a_supervisor(tmp_path):
    """``manager`` serves until it is told to stop, and is refused where another store is set."""
    settings = {"FLASK_CACHE_DIR": str(tmp_path), "PATH": "/usr/bin:/bin"}
    command = [sys.executable, "-m", "flask", "--app", "app", "state", "manager"]
    done = subprocess.run(command, cwd=ROOT, env=settings, capture_output=True, text=True)
    assert done.returncode == 2
    assert "CACHE_TYPE" in done.stderr
    settings["FLASK_CACHE_TYPE"] = "manager"
    with subprocess.Popen(command, cwd=ROOT, env=settings) as server:
        try:
            while not (tmp_path / "sharedstate.manager").exists():
                assert server.poll() is None
                threading.Event().wait(0.01)
            with closing(
                State.from_settings({"CACHE_TYPE": "manager", "CACHE_DIR": tmp_path})
            ) as state:
                assert state.inc("n") == 1
        finally:
            server.terminate()
        assert server.wait(60) == 0


@pytest.mark.slow
def test_a_reader_that_leaves_is_no_error_message(tmp_path):
    """``flask state keys | head -1`` prints one key, and nothing on standard error."""
    settings = {"CACHE_TYPE": "filesystem", "CACHE_DIR": str(tmp_path), "CACHE_CODEC": "json"}
    state = State.from_settings(settings)
    state.set_many({f"key-{number:05}": 1 for number in range(8_000)})
    state.close()
    done = subprocess.run(
        f"{sys.executable} -m flask --app app state keys | head -1",
        shell=True,
        cwd=ROOT,
        env={"FLASK_CACHE_DIR": str(tmp_path), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
    )
    assert (done.stdout, done.stderr) == ("key-00000\n", "")


def test_info_shows_the_settings_that_differ(tmp_path: Path) -> None:
    """Those of the library and of a service, typed; secrets are hidden, defaults left out."""
    app = service.create_app(
        {
            **{"CACHE_DIR": str(tmp_path), "CACHE_MAX_VALUE_BYTES": "64KiB", "DEMO": False},
            **{"API_TOKEN": "hunter2", "CACHE_REDIS_PASSWORD": "hunter2"},
        }
    )
    done = app.test_cli_runner().invoke(args=["state", "info", "--json"])
    assert "hunter2" not in done.output
    assert json.loads(done.output)["settings"] == {
        **{"CACHE_DIR": str(tmp_path), "CACHE_MAX_VALUE_BYTES": 65536, "CACHE_CODEC": "json"},
        **{"CACHE_REDIS_PASSWORD": "***", "API_TOKEN": "***", "DEMO": False},
    }
    text = app.test_cli_runner().invoke(args=["state", "info"]).output
    assert "API_TOKEN=***" in text and "hunter2" not in text
