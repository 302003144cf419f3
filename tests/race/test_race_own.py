"""`python -m race --app` and `--url`: what it starts, asks and sees of the reader's application."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import sysconfig
import threading
import venv
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, request, session
from werkzeug.serving import make_server

from race import options, runner
from race.judging.verdict import Outcome, Result, judge
from race.runner import Load, Place, run
from race.servers.processes import reserved_port
from race.servers.recipes import OWN_GUNICORN, RUNNING, missing
from race.servers.serve import serve
from race.strategies.table import STRATEGIES
from race.strategy import Origin, Strategy

ROOT = Path(__file__).parents[2]
OWN = Strategy("app", "mine:app", "mine:app", origin=Origin.YOURS)


def test_it_imports_nothing_of_this_project():
    """The project's modules, such as ``app``, are not in the way of the application's own."""
    with ExitStack() as stack:
        path = runner._environment(OWN, Place(), stack)["PYTHONPATH"].split(os.pathsep)[-1]
        assert os.listdir(path) == ["race"]
        theirs = runner._environment(STRATEGIES["global"], Place(), stack)["PYTHONPATH"]
    assert theirs.split(os.pathsep)[-1] == str(ROOT)


class TestRunning:
    """A server in a thread of the test, at its URL."""

    @pytest.fixture
    def app(self) -> Flask:
        app = Flask("mine")
        app.secret_key = "mine"
        app.extensions["kept"] = set()
        return app

    @pytest.fixture
    def url(self, app: Flask) -> Iterator[str]:
        server = make_server("127.0.0.1", 0, app, threaded=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.port}"
        server.shutdown()
        thread.join()
        server.server_close()

    def race(self, url: str, *arguments: str) -> Result:
        found = options.parse(["--url", url, *arguments])
        load = Load(clients=5, rounds=2)
        return judge(run(options.own(found), RUNNING, load, place=options.place(found)))

    def test_a_counter_in_use(self, app, url):
        """It is judged from where it stands."""
        numbers = itertools.count(41)
        app.add_url_rule("/next", view_func=lambda: str(next(numbers)))
        found = self.race(f"{url}/next")
        assert (found.verdict.outcome, found.findings.requests) == (Outcome.NOTHING_WRONG, 11)

    @pytest.mark.parametrize(
        ("status", "cookie", "said"), [(403, "a=b", "403 no"), (200, None, "200 no")]
    )
    def test_a_login_that_fails(self, app, url, status, cookie, said):
        """One that is an error, or sets no cookie, is shown; nothing is counted."""
        headers = {"Set-Cookie": cookie} if cookie else {}
        app.add_url_rule("/login", view_func=lambda: ("no", status, headers))
        found = self.race(url, "--login", "GET /login")
        assert found.verdict.why == f"the login set no cookie: {said}"

    def test_clients_apart(self, app, url):
        """With --per-client each keeps its cookies, and no connection leads to one worker."""

        def count() -> str:
            app.extensions["kept"].add(request.headers.get("Connection"))
            session["n"] = session.get("n", 0) + 1
            return str(session["n"])

        app.add_url_rule("/", view_func=count)
        found = self.race(url, "--per-client")
        assert (found.verdict.outcome, found.findings.counters) == (Outcome.NOTHING_WRONG, 5)
        assert app.extensions["kept"] == {"close"}

    def test_no_server(self):
        """Where nothing listens, that is what is said."""
        with reserved_port() as port:
            verdict = self.race(f"http://127.0.0.1:{port}").verdict
        assert (verdict.outcome, verdict.label) == (Outcome.FAILED, "no numbers")
        assert "ConnectionRefusedError" in verdict.why


MINE = """
import fcntl
from pathlib import Path
from flask import Flask, redirect, request, session

def count(name):
    with (Path(__file__).parent / name).open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        number = int(file.read() or 0) + 1
        file.truncate(0)
        file.write(str(number))
    return number

def create_app(title, *, start=0):
    app = Flask(__name__)
    app.secret_key = "mine"

    @app.post("/login")
    def login():
        session["user"] = request.form["user"]
        return redirect("/")

    @app.post("/next")
    def next():
        if "user" not in session or request.headers["X-Shop"] != "1":
            return "sign in", 403
        number = start + count(request.json["name"])
        return f"<title>{title}</title>visitor {number}"

    return app
"""
REQUEST = (
    *("--path", "/next", "--header", "X-Shop: 1", "--body", '{"name": "n"}'),
    *("--login", "POST /login user=ann", "--number", r"visitor (\d+)"),
)


def raced(directory: Path, *arguments: str) -> tuple[int, dict[str, Any], str]:
    """The exit code, the first race and standard error of a short run in a directory."""
    command = [sys.executable, "-m", "race", *REQUEST, "--clients", "20", "--rounds", "3", "--json"]
    done = subprocess.run(
        [*command, *arguments],
        cwd=directory,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)["races"][0], done.stderr


@pytest.mark.slow
class TestRaces:
    @pytest.fixture(autouse=True)
    def _mine(self, tmp_path: Path) -> None:
        (tmp_path / "mine.py").write_text(MINE)

    def test_a_factory_with_arguments(self, tmp_path):
        """It is called with them; each request carries the login's cookie, header and body."""
        target = "mine:create_app('24 things', start=1000)"
        code, race, err = raced(tmp_path, "--app", target, "--server", "gunicorn-gthread")
        assert (code, race["outcome"]) == (0, "nothing_wrong"), race
        assert "visitor 1001 (read as 1001)" in race["why"]
        assert (tmp_path / "n").read_text() in ("41", "61")
        assert "counts for real" in err

    def test_a_server_that_runs(self, tmp_path):
        """--url races it where it is."""
        (tmp_path / "app.py").write_text("from mine import create_app as c\napp = lambda: c('24')")
        with serve("gunicorn-sync", "app:app", cwd=tmp_path) as server:
            code, race, err = raced(tmp_path, "--url", server.url, "--path", "/next")
        assert (code, race["server"], race["outcome"]) == (0, RUNNING, "nothing_wrong"), race
        # One request before the race, and its rounds: fewer than three when time was over.
        assert (tmp_path / "n").read_text() in ("41", "61")
        assert "counts for real" in err

    def test_own_gunicorn_configuration_and_environment(self, tmp_path):
        """It is served as its file says, by the Python of its virtual environment."""
        home = tmp_path / "env"
        venv.create(home, symlinks=True)
        [site] = home.glob("lib/python*/site-packages")
        (site / "here.pth").write_text(sysconfig.get_path("purelib"))
        (site / "only_here.py").touch()
        (tmp_path / "conf.py").write_text(
            "import os\nworkers = 3\ndaemon = True\nraw_env = ['TITLE=24']\n"
            "def post_fork(server, worker):\n    open(f'worker-{worker.pid}', 'w').close()\n"
        )
        (tmp_path / "served.py").write_text(
            "import glob, os, time, only_here, mine\napp = mine.create_app(os.environ['TITLE'])\n"
            # Else the race may be over before the last worker is there.
            "while len(glob.glob('worker-*')) < 3: time.sleep(0.01)\n"
        )
        arguments = ("--app", "served:app", "--gunicorn-config", "conf.py", "--python", str(home))
        code, race, _ = raced(tmp_path, *arguments)
        assert (code, race["outcome"], race["server"]) == (0, "nothing_wrong", OWN_GUNICORN), race
        assert len(list(tmp_path.glob("worker-*"))) == 3
        assert race["figures"]["workers"] in (1, 2, 3)  # Some may be too late for any request.

    def test_what_another_environment_lacks(self, tmp_path):
        """A server that is not installed there is skipped, and named."""
        venv.create(tmp_path / "env", symlinks=True)
        python = str(tmp_path / "env/bin/python")
        assert missing("granian", python) == "granian"
        arguments = ("--app", "mine:create_app('')", "--server", "granian", "--python", python)
        code, race, _ = raced(tmp_path, *arguments)
        assert (code, race["outcome"], race["why"]) == (0, "skipped", "granian is not installed")

    def test_a_login_that_fails(self, tmp_path):
        """It is shown, and nothing is raced without it."""
        arguments = ("--app", "mine:create_app('')", "--login", "POST /none a=b")
        code, race, _ = raced(tmp_path, *arguments, "--server", "flask-threaded")
        assert (code, race["outcome"]) == (1, "failed")
        assert race["why"].startswith("the login set no cookie: 404")
        assert not (tmp_path / "n").exists()

    def test_each_client_logs_in(self, tmp_path):
        """With --per-client each has a login of its own."""
        code = "from mine import *\nimport uuid\napp = create_app('')\n"
        code += "app.view_functions['next'] = lambda: str(count(session.setdefault('id', new())))\n"
        code += "new = lambda: uuid.uuid4().hex\n"
        code += "app.view_functions['login'] = lambda: session.update(id=new()) or 'in'\n"
        (tmp_path / "apart.py").write_text(code)
        arguments = ("--app", "apart:app", "--per-client", "--number", r"\d+")
        code, race, _ = raced(tmp_path, *arguments, "--server", "gunicorn-sync")
        assert (code, race["outcome"]) == (0, "nothing_wrong"), race
        assert race["figures"]["counters"] == 20
