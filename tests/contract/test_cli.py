"""``flask state …``, as users and scripts call it."""

from __future__ import annotations

import enum
import json
import sqlite3
import subprocess
import sys
import threading
from collections import OrderedDict, defaultdict
from contextlib import closing
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskCliRunner
from redis_servers import redis_server

import app as service
from sharedstate import Cache, State
from sharedstate.cli import transfer
from sharedstate.cli.records import Entry
from sharedstate.codec import TEXTS

ROOT = Path(__file__).parents[2]


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


def test_copy_moves_values_counters_times_and_tokens(run, state, elsewhere):
    """The target has the same values, counters and remaining times, and knows used tokens."""
    state.set_many({f"k{number}": number for number in range(1200)})
    state.set("short", [1], 60)
    state.inc("n", 5, once="token")
    with state.lock("job") as lock:
        fence = lock.fence
    code, out, _ = run("copy", "--to", elsewhere, "--json")
    assert (code, json.loads(out)["refused"]) == (0, 0)
    target = state_at(elsewhere)
    assert sorted(target.keys()) == sorted(state.keys())
    assert target.get_many("k7", "short", "n") == [7, [1], 5]
    assert 30 < (target.ttl("short") or 0) <= 60
    assert target.inc("n", 5, once="token") == 5
    with target.lock("job") as lock:
        assert lock.fence > fence
    target.close()


def test_copy_leaves_what_is_there_unless_told(run, state, elsewhere):
    """A key of the target is refused, reported and kept; ``--overwrite`` replaces it."""
    target = state_at(elsewhere)
    target.set("a", "theirs")
    state.set_many({"a": "ours", "b": "ours", "other": 1})
    code, out, error = run("copy", "--to", elsewhere, "--prefix", "a", "--json")
    assert (code, json.loads(out)) == (1, {"written": 0, "refused": 1})
    assert "--overwrite" in error
    assert target.get("a") == "theirs"
    code, out, _ = run("copy", "--to", elsewhere, "--overwrite", "--dry-run", "--json")
    assert (code, json.loads(out)["would_write"]) == (0, 3)
    assert target.keys() == ["a"]
    assert run("copy", "--to", elsewhere, "--overwrite")[0] == 0
    assert target.get_many("a", "b", "other") == ["ours", "ours", 1]
    target.close()


class Writers:
    """Count on one key while it is copied, set another one and remove a third."""

    def __init__(self, state: State, monkeypatch: pytest.MonkeyPatch) -> None:
        self.numbers: list[int] = []
        self._state = state
        self._stop = threading.Event()
        self._goes_on = threading.Semaphore(0)
        self._thread = threading.Thread(target=self._count)
        store_entry = transfer.store_entry

        def while_they_write(target: State, entry: Entry, **options: bool) -> bool:
            stored = store_entry(target, entry, **options)
            if entry.key == b"n" and not self._stop.is_set():
                state.set_many({"a": "came later", "z": "changed"})
                state.delete("m")
                self.wait()
            return stored

        monkeypatch.setattr(transfer, "store_entry", while_they_write)

    def __enter__(self) -> Writers:
        self._thread.start()
        self.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def wait(self) -> None:
        """Wait until a number was given that was not asked for before now."""
        while self._goes_on.acquire(blocking=False):
            pass
        for _ in range(2):
            assert self._goes_on.acquire(timeout=30)

    def _count(self) -> None:
        while not self._stop.is_set():
            self.numbers.append(self._state.inc("n"))
            self._goes_on.release()


def test_what_is_written_while_it_is_copied(run, state, elsewhere, monkeypatch):
    """The command fails and says what to do; then all is there, and no number is given twice."""
    state.set_many({"m": "goes", "z": "stays"})
    with state.lock("job"):
        pass
    with Writers(state, monkeypatch) as writers:
        code, out, error = run("copy", "--to", elsewhere, "--json")
    assert (code, json.loads(out)["refused"]) == (1, 0)
    assert json.loads(out)["differ"] == 4
    assert "--again" in error
    code, out, _ = run("copy", "--to", elsewhere, "--again", "--dry-run", "--json")
    assert (code, json.loads(out)) == (0, {"would_write": 3, "refused": 0, "removed": 1})
    code, out, _ = run("copy", "--to", elsewhere, "--again", "--json")
    assert code == 0
    assert json.loads(out) == {"written": 3, "refused": 0, "removed": 1, "differ": 0}
    with closing(state_at(elsewhere)) as target:
        assert target.get_many("a", "m", "z") == ["came later", None, "changed"]
        assert target.inc("n") == len(writers.numbers) + 1
        assert target.keys() == ["a", "n", "z"]


def test_copying_again_leaves_the_rest(run, state, elsewhere):
    """With a prefix nothing else is touched, and what is about to end is not looked for."""
    state.set_many({"a1": 1, "b1": 1})
    with closing(state_at(elsewhere)) as target:
        target.set_many({"a2": 2, "b1": 2, "b2": 2})
        target.set("a3", 3, 1)
        target.namespace("session").set("sid", 1)
        code, out, _ = run("copy", "--to", elsewhere, "--prefix", "a", "--again", "--json")
        assert code == 0
        assert json.loads(out) == {"written": 1, "refused": 0, "removed": 1, "differ": 0}
        assert target.get_many("a1", "a2", "b1", "b2") == [1, None, 2, 2]
        assert target.namespace("session").get("sid") == 1


def test_export_and_import_are_inverse(run, state, tmp_path):
    """What one writes the other reads: values, counters and remaining times."""
    state.set_many({"a": {"b": "ü\n"}, "n": 2**62, "none": None})
    state.set("short", 1, 60)
    code, lines, _ = run("export")
    assert code == 0
    assert [json.loads(line)["key"] for line in lines.splitlines()] == ["a", "n", "none", "short"]
    state.clear()
    assert run("import", "--json", stdin=lines)[0] == 0
    assert state.get_many("a", "n", "none", "short") == [{"b": "ü\n"}, 2**62, None, 1]
    assert state.has("none")
    assert 30 < (state.ttl("short") or 0) <= 60
    code, out, _ = run("import", "--json", stdin=lines)
    assert (code, json.loads(out)) == (1, {"written": 0, "refused": 4})


def test_what_json_cannot_hold_is_exported_too(tmp_path):
    """A pickled object goes through an export and comes back."""
    app = Flask(__name__, instance_path=str(tmp_path))
    cache = Cache(app, config={"CACHE_TYPE": "simple"})
    cache.set("a", {1, 2})
    runner = app.test_cli_runner()
    lines = runner.invoke(args=["state", "export"]).stdout
    cache.clear()
    refused = runner.invoke(args=["state", "import"], input=lines)
    assert refused.exit_code == 1
    assert "--trust-pickle" in refused.stderr
    assert cache.get("a") is None
    assert runner.invoke(args=["state", "import", "--trust-pickle"], input=lines).exit_code == 0
    assert cache.get("a") == {1, 2}


class Level(enum.IntEnum):
    HIGH = 3


@pytest.mark.parametrize(
    "value", [OrderedDict(a=1), defaultdict(list, a=[1]), Level.HIGH, {"a": [Level.HIGH]}, (1, 2)]
)
def test_an_export_keeps_the_type(tmp_path, value):
    """What JSON would turn into something else comes back as what it was."""
    app = Flask(__name__, instance_path=str(tmp_path))
    cache = Cache(app, config={"CACHE_TYPE": "simple"})
    cache.set("a", value)
    runner = app.test_cli_runner()
    lines = runner.invoke(args=["state", "export"]).stdout
    cache.clear()
    assert runner.invoke(args=["state", "import", "--trust-pickle"], input=lines).exit_code == 0
    assert cache.get("a") == value
    assert type(cache.get("a")) is type(value)


@pytest.mark.parametrize(
    "line",
    [
        "{",
        "[]",
        '{"key": 1, "value": 1}',
        '{"key": "", "value": 1}',
        '{"key": "a"}',
        '{"key": "a", "bytes": "bm90IGpzb24=", "codec": "json"}',  # "not json"
        '{"key": "a", "value": "' + "x" * (1 << 20) + '"}',
        '{"key": "a", "value": ' + "[" * 100_000 + "]" * 100_000 + "}",
    ],
    ids=range(8),
)
def test_a_broken_line_is_named(run, state, line):
    """An import stops at a line that makes no sense, names it, and keeps what came before."""
    code, _, error = run("import", stdin=f'{{"key": "ok", "value": 1}}\n{line}\n')
    assert code == 1
    assert "line 2" in error
    assert state.keys() == ["ok"]


def fill_all(state: State) -> int:
    """Keys, a session, a token and a fence; returns the fence."""
    state.set_many({"a": "ours", "n": 7})
    state.set("short", [1], 60)
    state.namespace("session").set("sid", {"user": 1}, 60)
    state.inc("paid", 50, once="order")
    with state.lock("job") as lock:
        return lock.fence


def test_copy_takes_sessions_locks_and_tokens(run, state, elsewhere):
    """Without a prefix everything is copied; with one, what was left is named."""
    fill_all(state)
    assert state.namespace("lock", TEXTS).add("held", "token", 60)
    code, _, error = run("copy", "--to", elsewhere, "--prefix", "a", "--json")
    assert code == 0
    assert "session (1)" in error
    assert run("copy", "--to", elsewhere, "--overwrite")[0] == 0
    target = state_at(elsewhere)
    assert target.namespace("session").get("sid") == {"user": 1}
    assert target.namespace("lock", TEXTS).get("held") == "token"
    assert target.inc_once("paid", "order", 50) == (50, True)
    target.close()


@pytest.mark.parametrize("overwrite", [(), ("--overwrite",)])
@pytest.mark.parametrize("ahead", ["source", "target"])
def test_a_copied_fence_never_falls(run, state, elsewhere, overwrite, ahead):
    """Of the fences of source and target the higher one goes on, overwriting or not."""
    target = state_at(elsewhere)
    for each, is_ahead in ((state, ahead == "source"), (target, ahead == "target")):
        for _ in range(10 if is_ahead else 3):
            with each.lock("job"):
                pass
    run("copy", "--to", elsewhere, *overwrite)
    with target.lock("job") as lock:
        assert lock.fence == 11
    target.close()


def test_a_backup_is_restored_whole(run, state, tmp_path):
    """Everything comes back with its times, what came later is gone, and a fence never falls."""
    fence = fill_all(state)
    file = str(tmp_path / "backup")
    assert json.loads(run("backup", file, "--json")[1])["one_moment"] is True
    assert Path(file).stat().st_mode & 0o777 == 0o600
    state.set_many({"a": "changed", "later": 1})
    with state.lock("job") as lock:
        assert lock.fence == fence + 1
    code, _, error = run("restore", file)
    assert code == 1
    assert "--overwrite" in error
    assert state.get("a") == "changed"
    assert run("restore", file, "--overwrite")[0] == 0
    assert sorted(state.keys()) == ["a", "n", "paid", "short"]
    assert state.get_many("a", "n", "short") == ["ours", 7, [1]]
    assert 30 < (state.ttl("short") or 0) <= 60
    assert state.namespace("session").get("sid") == {"user": 1}
    assert state.inc_once("paid", "order", 50) == (50, True)
    with state.lock("job") as lock:
        assert lock.fence == fence + 2


@pytest.mark.parametrize("spoil", ["cut", "line", "header", "bit"])
def test_a_backup_that_is_not_whole_changes_nothing(run, state, tmp_path, spoil):
    """A file that was cut short or changed is refused before anything is removed."""
    fill_all(state)
    file = tmp_path / "backup"
    assert run("backup", str(file))[0] == 0
    lines = file.read_text().splitlines(keepends=True)
    changed = {
        "cut": lines[:-1],
        "line": [lines[0], *lines[2:]],
        "header": lines[1:],
        "bit": [lines[0], lines[1].replace('"value": "', '"value": "AAAA'), *lines[2:]],
    }[spoil]
    file.write_text("".join(changed))
    state.set("a", "present")
    code, _, error = run("restore", str(file), "--overwrite")
    assert (code, state.get("a")) == (1, "present")
    assert str(file) in error


def test_a_damaged_store_is_restored(run, state, app, tmp_path):
    """``restore --anew`` sets the damaged files aside, with the -wal that would be replayed."""
    fill_all(state)
    file = str(tmp_path / "backup")
    assert run("backup", file)[0] == 0
    state.set("a", "after the backup")
    state.close()
    database = tmp_path / "here" / "sharedstate.sqlite3"
    database.write_bytes(b"\0" * 4096)
    code, _, error = run("restore", file)
    assert code == 1
    database.with_name("sharedstate.sqlite3-wal").write_bytes(b"left by a killed process")
    code, out, error = run("restore", file, "--anew", "--json")
    assert (code, error) == (0, "")
    assert {Path(name).name[-4:] for name in json.loads(out)["set_aside"]} >= {"ed-1", "-wal"}
    assert state.get("a") == "ours"


@pytest.mark.parametrize("scheme", ["filesystem", "lmdb"])
def test_a_backup_is_of_one_moment(tmp_path, scheme):
    """What is written between two records of a backup is in it whole or not at all."""
    settings = {"CACHE_URL": f"{scheme}://{tmp_path}/s", "CACHE_CODEC": "json"}
    state = State.from_settings(settings | {"CACHE_TIMEOUT": "30"})
    state.set_many({f"k{number:04}": 1 for number in range(2000)})
    snapshot = state.store.snapshot()
    first = next(snapshot)
    writer = threading.Thread(
        target=state.set_many, args=({f"k{number:04}": 2 for number in range(2000)},)
    )
    writer.start()
    writer.join()
    assert {record[0] for _, record in [first, *snapshot]} == {b"1"}
    state.close()


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
