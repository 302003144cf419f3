"""`python -m race --app` and `--url`: what it reads, sends and says of the reader's application."""

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
from race_histories import at_once, by_workers, in_turn
from werkzeug.serving import make_server

from race import cli, options, runner
from race.clients.numbers import number_in, reader, shown
from race.clients.rush import Response
from race.judging.history import History
from race.judging.verdict import LONGER, MEANINGS, Outcome, Result, conclusion, judge
from race.reporting.terminal import reasons
from race.runner import Load, Place, Race, run, site_of
from race.servers.processes import reserved_port
from race.servers.recipes import OWN_GUNICORN, RUNNING, SERVERS, missing
from race.servers.serve import serve
from race.strategies.table import STRATEGIES
from race.strategy import Ask, Judged, Origin, Strategy

ROOT = Path(__file__).parents[2]
OWN = Strategy("app", "mine:app", "mine:app", origin=Origin.YOURS)
PAGE = b"<title>Shop 24</title><style>p{margin:7px}</style><p>You&#39;re visitor <b>1,234</b>.</p>"


def page(body: bytes, status: int | None = 200) -> Response:
    return Response(0, 0, status, body, 0, 1)


def judged(history: History, server: str = "gunicorn-sync", **about: str) -> Result:
    return judge(Race(OWN, server, history, **about))


class TestNumber:
    @pytest.mark.parametrize(
        ("place", "body", "number"),
        [
            (r"visitor\D+([\d,]+)", PAGE, 1234),
            (r"\d+", b"You are 7 of 9", 7),
            (r"nobody (\d+)", PAGE, None),
            ("$", b"7", 7),
            ("$.value", b'{"value": 7, "ttl": 60}', 7),
            ("$.data[1]['the n']", b'{"data": [0, {"the n": "7"}]}', 7),
            ("$.data[2].n", b'{"data": [0, 1]}', None),
            ("$.value", b'{"value": true}', None),
            ("$.value", b"no JSON", None),
        ],
    )
    def test_at_a_place(self, place, body, number):
        """--number says where the number stands: a pattern with a group, or a JSON path."""
        assert reader(place)(page(body)) == number
        assert reader(place)(page(body, 500)) is None

    @pytest.mark.parametrize("place", ["(", "$.", "$value", "$.a[x]"])
    def test_no_place(self, place):
        """What is neither is refused before anything is started."""
        with pytest.raises(SystemExit):
            options.parse(["--app", "a:b", "--number", place])

    @pytest.mark.parametrize(
        "body", [PAGE, b"24 things, 7 visitors", b"<title>24</title>7", b"on 2026-11-25"]
    )
    def test_no_guess(self, body):
        """Of several integers none is taken; what is hidden in a page, is not one of them."""
        assert number_in(page(body)) is None
        assert number_in(page(b"<script>var a = 1</script><!-- 2 --><p id=x3>&#39;7&#39;")) == 7

    def test_shown(self):
        """A response is shown in a line, shortened, and without commands to the terminal."""
        assert shown(page(b"a\n\x1b[31m b\x07\t" + b"c" * 200)) == f"200 a b {'c' * 116} …"
        assert shown(Response(0, 0, None, b"", 0, 1, "TimeoutError: timed out")).startswith(
            "Timeout"
        )


class TestVerdict:
    def test_nothing_wrong(self):
        """Right numbers are “nothing wrong in N requests”, with a response; no word of luck."""
        result = judged(at_once([3, 1, 2]))
        verdict = result.verdict
        assert (verdict.outcome, verdict.label) == (Outcome.NOTHING_WRONG, "nothing wrong")
        assert not verdict.breaks_promise
        assert "nothing wrong in 3 requests; a response: 200 3 (read as 3)" in verdict.why
        said = [*MEANINGS.values(), *reasons([result]), *reasons([result])["What was seen"]]
        assert not any("luck" in text or "not exact" in text for text in said)

    def test_proof_is_spoken_of_once(self):
        """That trying proves nothing is said once for all servers, with a longer run to try."""
        results = [judged(at_once([1, 2, 3]), server) for server in ("granian", "waitress")]
        said = conclusion(results)
        assert said.startswith("Nothing wrong in 6 requests under 2 servers. Trying cannot prove")
        assert LONGER in said
        assert not any("prove" in one.verdict.why for one in results)

    def test_serial(self):
        """Where nothing can race, the conclusion claims nothing."""
        result = judged(at_once([1, 2, 3]), "flask-single")
        assert result.verdict.outcome is Outcome.SERIAL
        assert conclusion([result]) == "Nothing was tried here that could go wrong."
        wrong = judged(at_once([1, 1, 2]), "flask-single")
        assert "a response: 200 1" in wrong.verdict.why
        assert conclusion([wrong]) == "It gave wrong numbers under 1 of 1 server."

    def test_always_the_same(self):
        """The same number in every response may not be the counter; it is named as it was given."""
        verdict = judged(in_turn([24] * 5, before=23)).verdict
        assert (verdict.outcome, verdict.label) == (Outcome.WRONG, "always 24")
        assert "is it the counter?" in verdict.why and "--number" in verdict.why
        assert judged(in_turn([24, 24, 25], before=23)).verdict.label == "24 given 2×"
        assert judged(at_once([7])).verdict.label == "1 skipped"

    def test_wrong(self):
        """Wrong numbers and workers apart are told, with a response."""
        apart = judged(by_workers([1, 2], [1, 2]))
        assert apart.verdict.label == "never left the worker"
        assert "2 workers each counted from 1" in apart.verdict.why
        assert "a response: 200 1" in apart.verdict.why
        assert apart.verdict.breaks_promise
        assert "same number" in judged(at_once([1, 2, 2, 4])).verdict.why
        right = judged(at_once([1, 2, 3]), "granian")
        assert conclusion([apart, right]) == "It gave wrong numbers under 1 of 2 servers."

    def test_no_numbers(self):
        """Responses without a number are shown, with what the server printed last."""
        responses = [page(b"<h1>Sign in</h1>", 302), page(b"<h1>Sign in</h1>", 302), page(b"9")]
        result = judged(History(responses), log="one\nKeyError: \x1b[1m'user'\n")
        verdict = result.verdict
        assert (verdict.outcome, verdict.label) == (Outcome.FAILED, "no numbers")
        assert verdict.why == "302 <h1>Sign in</h1>"
        assert verdict.details == ("one", "KeyError: 'user'")
        [line] = reasons([result])["What did not work"]
        assert line.endswith("\n      one\n      KeyError: 'user'")
        assert conclusion([result]) == "It gave no numbers under 1 of 1 server."

    def test_several_numbers(self):
        """Several integers in the responses are named, with what chooses one."""
        verdict = judged(History([page(b"<title>24</title>7")])).verdict
        assert "several numbers, 24, 7: choose one with --number" in verdict.why

    def test_some_without_a_number(self):
        """A few errors beside right numbers are shown too."""
        verdict = judged(
            History([*at_once([1, 2]).responses, Response(3, 0, 500, b"boom", 0, 1)]), log="Boom"
        ).verdict
        assert verdict.outcome is Outcome.NOTHING_WRONG
        assert "(1 had no number)" in verdict.why
        assert "a response without a number: 500 boom" in verdict.why
        assert verdict.details == ("Boom",)

    def test_a_failed_start(self):
        """The reason is in a line, and the last lines of the server below it."""
        log = "gunicorn ended:\n" + "x\n" * 30 + "OSError: in use\n[INFO] bye"
        verdict = judge(Race(OWN, "gunicorn-sync", failed=log)).verdict
        assert (verdict.why, verdict.details[-2:]) == (
            "OSError: in use",
            ("OSError: in use", "[INFO] bye"),
        )
        assert len(verdict.details) == 12


class TestOptions:
    def chosen(self, *arguments: str) -> tuple[Strategy, list[str], Place]:
        found = options.parse(list(arguments))
        [strategy], servers = cli.chosen(found)
        return strategy, servers, options.place(found)

    def test_request(self, tmp_path):
        """Method, path, headers and body are sent as they are given."""
        (tmp_path / "form").write_text("a=1")
        strategy, servers, place = self.chosen(
            *("--app", "m:create('x')", "--path", "/next?a=b", "--header", "X-Who: me: I"),
            *("--header", "Accept: */*", "--body", f"@{tmp_path}/form", "--per-client"),
            *("--login", "POST /login user=a&x=y z", "--number", "$.n"),
        )
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        assert strategy.ask == Ask(
            "POST", "/next?a=b", {"X-Who": "me: I", "Accept": "*/*", **form}, b"a=1"
        )
        assert strategy.login == Ask("POST", "/login", form, b"user=a&x=y z")
        assert strategy.judged is Judged.EACH
        assert strategy.read(page(b'{"n": 7, "m": 8}')) == 7
        assert (strategy.target, servers) == ("m:create('x')", [*SERVERS])
        assert place.directory == Path.cwd()

    @pytest.mark.parametrize(
        ("more", "kind"),
        [((), "application/json"), (("--header", "content-type: text/x"), None)],
    )
    def test_json(self, more, kind):
        """A body that is JSON is sent as JSON, unless a header says something else."""
        strategy, *_ = self.chosen("--app", "a:b", "--method", "PUT", "--body", '{"a": 1}', *more)
        assert strategy.ask.method == "PUT"
        assert strategy.ask.headers.get("Content-Type") == kind

    def test_running(self):
        """--url names a server that runs, with what to ask it for."""
        strategy, servers, place = self.chosen("--url", "http://127.0.0.1:5000/next?a=b")
        assert (strategy.ask.path, servers) == ("/next?a=b", [RUNNING])
        assert site_of(place.url) == ("127.0.0.1", 5000, False)
        assert site_of("https://[::1]/") == ("::1", 443, True)

    def test_own_configuration(self, tmp_path):
        """A configuration of gunicorn takes the place of the servers."""
        path = tmp_path / "conf.py"
        path.touch()
        arguments = ("--app", "a:b", "--gunicorn-config", str(path))
        _, servers, place = self.chosen(*arguments)
        assert (servers, place.config) == ([OWN_GUNICORN], str(path))
        _, servers, _ = self.chosen(*arguments, "--server", "gunicorn-config", "waitress")
        assert servers == [OWN_GUNICORN, "waitress"]
        with pytest.raises(SystemExit, match="no 'gunicorn-config'"):
            self.chosen("--app", "a:b", "--server", "gunicorn-config")

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (["--app", "a:b", "--url", "http://h"], "choose one"),
            (["--path", "/next"], "--path: for --app or --url only"),
            (["--url", "http://h", "--python", sys.executable], "--python: for --app only"),
            (["--url", "http://h", "--server", "granian"], "runs already"),
            (["--url", "ftp://h"], "is no URL"),
            (["--app", "a:b", "--header", "X"], "is no header"),
            (["--app", "a:b", "--login", "/login"], "no method and path"),
            (["--app", "a:b", "--python", "/no/such"], "is no Python"),
            (["--app", "a:b", "--gunicorn-config", "/no/such"], "no file"),
        ],
    )
    def test_nonsense(self, arguments, said, capsys):
        """Options that do not go together, or mean nothing, are refused with the reason."""
        with pytest.raises(SystemExit):
            options.parse(arguments)
        assert said in capsys.readouterr().err


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
