"""`python -m race --app` and `--url`: what it is told, and where it finds the number."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from race_histories import page

from race import cli, options
from race.clients.numbers import number_in, reader, shown
from race.clients.rush import Response
from race.runner import Place, site_of
from race.servers.recipes import OWN_GUNICORN, RUNNING, SERVERS
from race.strategy import Ask, Judged, Strategy

PAGE = b"<title>Shop 24</title><style>p{margin:7px}</style><p>You&#39;re visitor <b>1,234</b>.</p>"


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
