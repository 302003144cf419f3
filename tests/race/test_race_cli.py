"""`python -m race`: its options, its exit code, and that it leaves nothing behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest
from race_histories import at_once

from race import cli, options
from race.reporting import terminal
from race.runner import Race
from race.servers.recipes import SERVERS
from race.strategies.table import STRATEGIES
from race.strategy import Origin

ROOT = Path(__file__).parents[2]
MARK = "RACE_TEST_MARK"
SECONDS = 60  # Guards against a hang, and nothing else.


def chosen(*arguments: str) -> tuple[list[str], list[str]]:
    strategies, servers = cli.chosen(options.parse(list(arguments)))
    return [strategy.name for strategy in strategies], servers


class TestOptions:
    def test_everything(self):
        """Without options every strategy meets every server."""
        assert chosen() == ([*STRATEGIES], [*SERVERS])

    def test_quick(self):
        """The quick matrix has wrong ones and ours, on threads and on processes, in less time."""
        strategies, servers = chosen("--quick")
        assert {STRATEGIES[name].origin for name in strategies} == {Origin.OURS, Origin.THEIRS}
        assert {SERVERS[name].workers > 1 for name in servers} == {True, False}
        assert options.parse(["--quick"]).rounds < options.parse([]).rounds
        assert options.parse(["--quick", "--rounds", "99"]).rounds == 99

    def test_names(self):
        """Some can be named, with wildcards, each once."""
        names = ["global", "ours-r*", "glob?l"]
        assert chosen("--strategy", *names, "--server", "gunicorn-g*", "granian") == (
            ["global", "ours-redis"],
            ["gunicorn-gthread", "gunicorn-gevent", "granian"],
        )

    @pytest.mark.parametrize("option", ["--strategy", "--server"])
    def test_no_such_name(self, option):
        """A name that does not exist is refused, with those that do."""
        with pytest.raises(SystemExit, match=r"no 'apache'; there are: (global|flask-single), "):
            chosen(option, "apache")

    @pytest.mark.parametrize(
        "arguments",
        [["--clients", "0"], ["--rounds", "x"], ["--html", "no/such/directory.html"], ["--what"]],
    )
    def test_nonsense(self, arguments):
        """Options that make no sense are refused."""
        with pytest.raises(SystemExit) as ended:
            options.parse(arguments)
        assert ended.value.code == 2


class TestMain:
    @pytest.fixture(autouse=True)
    def _keep_signals(self):
        before = signal.getsignal(signal.SIGTERM)
        yield
        signal.signal(signal.SIGTERM, before)

    @pytest.fixture
    def races(self, monkeypatch):
        """Races that are over at once: all give these numbers."""

        def give(numbers):
            def run(strategy, server, load, place):
                return Race(strategy, server, at_once(numbers))

            monkeypatch.setattr(cli, "run", run)

        return give

    @pytest.mark.parametrize(
        ("strategy", "numbers", "code"),
        [
            ("ours-lmdb", [1, 2, 3], 0),
            ("ours-lmdb", [1, 2, 2], 1),
            ("get-set-files", [1, 2, 2], 0),
            ("ours-simple", [1, 2, 2], 0),
        ],
    )
    def test_exit_code(self, races, strategy, numbers, code, capsys):
        """Wrong numbers are a failure of ours, where its store reaches, and of nobody else."""
        races(numbers)
        assert cli.main(["--strategy", strategy, "--server", "gunicorn-sync"]) == code
        assert STRATEGIES[strategy].title in capsys.readouterr().out

    def test_json(self, races, capsys):
        """With --json standard output is JSON and nothing else."""
        races([1, 2, 3])
        assert cli.main(["--json", "--strategy", "ours-lmdb", "--server", "granian"]) == 0
        out, err = capsys.readouterr()
        assert json.loads(out)["races"][0]["outcome"] == "exact"
        assert "ours" not in err and "sharedstate: lmdb" in err

    def test_html(self, races, tmp_path):
        """The page is written to the file."""
        races([1, 2, 3])
        path = tmp_path / "race.reporting.html"
        cli.main(["--html", str(path), "--strategy", "ours-lmdb", "--server", "granian"])
        assert "sharedstate: lmdb" in path.read_text()

    def test_ctrl_c(self, monkeypatch, capsys):
        """After Ctrl-C there is a report of what was done until then."""

        def run(strategy, server, load, place):
            if server == "granian":
                raise KeyboardInterrupt
            return Race(strategy, server, at_once([1, 2, 3]))

        monkeypatch.setattr(cli, "run", run)
        arguments = ["--strategy", "ours-lmdb", "--server", "waitress", "granian", "uwsgi"]
        assert cli.main(arguments) == cli.INTERRUPTED
        out = capsys.readouterr().out
        assert "waitress" in out
        assert "granian" not in out

    def test_a_missing_server_is_named_and_skipped(self, monkeypatch, capsys):
        """What needs it is skipped by name, all else is raced, and the exit code is 0."""

        def run(strategy, *about, **more):
            if strategy.name == "ours-filesystem":
                return Race(strategy, "waitress", at_once([1, 2, 3]))
            return really_run(strategy, *about, **more)

        really_run = cli.run
        monkeypatch.setattr(cli, "run", run)
        monkeypatch.setenv("PATH", "/nowhere")
        names = ("ours-redis", "get-set-memcached", "ours-filesystem")
        assert cli.main(["--strategy", *names, "--server", "waitress", "--json"]) == 0
        races = {race["strategy"]: race for race in json.loads(capsys.readouterr().out)["races"]}
        assert [races[name]["outcome"] for name in names] == ["skipped", "skipped", "exact"]
        assert races["ours-redis"]["why"] == "redis-server is not installed"
        assert races["get-set-memcached"]["why"].startswith("memcache")

    def test_without_rich(self, monkeypatch):
        """Without rich it says what to install."""
        monkeypatch.delitem(sys.modules, terminal.__name__)
        monkeypatch.delattr("race.reporting.terminal")
        monkeypatch.setitem(sys.modules, "rich.console", None)
        with pytest.raises(SystemExit, match="pip install 'rich"):
            cli.main(["--strategy", "ours-lmdb", "--server", "granian"])


def marked(mark: str) -> list[int]:
    """The processes that have the mark in their environment."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if mark.encode() in path.read_bytes():
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


def started(mark: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "race", *arguments],
        cwd=ROOT,
        env=os.environ | {MARK: mark},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_leaves_nothing_behind(number):
    """Ctrl-C and SIGTERM stop the servers and all beside them before it ends."""
    mark = uuid.uuid4().hex
    race = started(
        mark,
        *("--strategy", "ours-manager", "--server", "flask-threaded"),
        *("--rounds", "100000", "--seconds", "600"),
    )
    while len(marked(mark)) < 3:  # the race, the manager and the server
        assert race.poll() is None
        time.sleep(0.02)
    race.send_signal(number)
    out, err = race.communicate()
    assert race.returncode == cli.INTERRUPTED, out + err
    deadline = time.monotonic() + SECONDS
    while left := marked(mark):  # what was killed is gone in a moment
        assert time.monotonic() < deadline, left
        time.sleep(0.02)


@pytest.mark.slow
def test_quick_matrix(tmp_path):
    """The quick races: ours is exact everywhere, and the others are caught."""
    page, ours = tmp_path / "race.html", ("ours-filesystem", "ours-session-parallel")
    others = ("global-lock", "cookie-parallel", "get-set-files")
    assert {*ours, *others} < {*cli.QUICK_STRATEGIES}
    done = subprocess.run(
        [sys.executable, "-m", "race", "--quick", "--rounds", "3", "--json", "--html", str(page)]
        + ["--strategy", *ours, *others, "--server", "gunicorn-gthread"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    races = json.loads(done.stdout)["races"]
    assert {race["strategy"]: race["outcome"] for race in races} == {
        **dict.fromkeys(ours, "exact"),
        **dict.fromkeys(others, "wrong"),
    }
    assert page.stat().st_size > 10_000


def test_make_race_installs_no_server():
    """`make race` does not ask for the servers that the tests need."""
    done = subprocess.run(["make", "-n", "race"], cwd=ROOT, capture_output=True, text=True)
    assert "-m race" in done.stdout
    assert "install_servers" not in done.stdout


OWN = """
from flask import Flask
hits = 40

def create_app():
    app = Flask(__name__)

    @app.post("/next")
    def next():
        global hits
        hits += 1
        return {"you are": hits}

    return app

app = create_app()
"""


@pytest.mark.slow
def test_own_application(tmp_path):
    """The reader's own application is found in the working directory, and judged."""
    (tmp_path / "mine.py").write_text(OWN)
    arguments = ["--app", "mine:app", "--path", "/next", "--method", "POST"]
    arguments += ["--server", "gunicorn-gthread"]
    done = subprocess.run(
        [sys.executable, "-m", "race", *arguments, "--rounds", "5", "--json"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    [race] = json.loads(done.stdout)["races"]
    assert race["outcome"] == "wrong"
