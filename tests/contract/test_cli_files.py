"""``flask state export``, ``import``, ``backup`` and ``restore``."""

# ruff: noqa: F811  # the fixtures that are imported are arguments of the tests

from __future__ import annotations

import enum
import json
import threading
from collections import OrderedDict, defaultdict
from pathlib import Path

import pytest
from flask import Flask
from state_command import app, fill_all, run, state  # noqa: F401  # fixtures

from sharedstate import Cache, State


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
    assert "'flask state restore --anew FILE'" in error
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
