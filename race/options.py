"""The command line of ``python -m race``."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from .arguments import new_file, positive
from .clients.numbers import number_in, reader
from .runner import Place, site_of
from .servers.recipes import SERVERS
from .strategies.table import STRATEGIES
from .strategy import Ask, Judged, Origin, Strategy

T = TypeVar("T")

ROUNDS, SECONDS = 20, 1.0
QUICK_ROUNDS, QUICK_SECONDS = 10, 0.6

# What belongs to an application of the reader's own.
OF_OWN = ("number", "method", "path", "header", "body", "login", "per_client")
OF_APP = ("gunicorn_config", "python")


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The options, with the defaults that go together.

    :raises SystemExit: they make no sense.
    """
    parser = _parser()
    options = parser.parse_args(arguments)
    if wrong := _misplaced(options):
        parser.error(wrong)
    if options.rounds is None:
        options.rounds = QUICK_ROUNDS if options.quick else ROUNDS
    if options.seconds is None:
        options.seconds = QUICK_SECONDS if options.quick else SECONDS
    return options


def own(options: argparse.Namespace) -> Strategy:
    """The reader's application."""
    name = options.app or options.url
    headers = dict(options.header or ())
    ask = Ask(
        options.method or ("GET" if options.body is None else "POST"),
        options.path or _path_of(options.url) or "/",
        headers | _content_type(options.body, headers),
        options.body,
    )
    return Strategy(
        "app",
        name,
        options.app or "",
        judged=Judged.EACH if options.per_client else Judged.ALL,
        origin=Origin.YOURS,
        ask=ask,
        login=options.login,
        read=reader(options.number) if options.number else number_in,
    )


def place(options: argparse.Namespace) -> Place:
    """Where the servers run: the project's directory, or the reader's own."""
    return Place(
        directory=Path.cwd() if options.app else Place.directory,
        python=options.python or sys.executable,
        config=options.gunicorn_config or "",
        url=options.url or "",
    )


def _misplaced(options: argparse.Namespace) -> str:
    """What is wrong with options that do not go together."""
    given = {name for name in (*OF_OWN, *OF_APP) if getattr(options, name) not in (None, False)}
    if options.app and options.url:
        return "--app starts a server and --url asks one that runs: choose one"
    if given and not (options.app or options.url):
        return f"{_names(given)}: for --app or --url only"
    if given & {*OF_APP} and options.url:
        return f"{_names(given & {*OF_APP})}: for --app only"
    if options.url and options.server:
        return "--server: the one at --url runs already"
    return ""


def _names(options: set[str]) -> str:
    return ", ".join(f"--{name.replace('_', '-')}" for name in sorted(options))


def _content_type(body: bytes | None, headers: Mapping[str, str]) -> dict[str, str]:
    """What the body is, unless a header says it: JSON, or else a form."""
    if body is None or any(name.lower() == "content-type" for name in headers):
        return {}
    try:
        json.loads(body)
    except ValueError:
        return {"Content-Type": "application/x-www-form-urlencoded"}
    return {"Content-Type": "application/json"}


def _path_of(url: str | None) -> str:
    parts = urlsplit(url or "")
    return f"{parts.path}?{parts.query}" if parts.query else parts.path


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m race",
        description="Ways of sharing state in Flask, each under each WSGI server, with many "
        "clients at once: which of them hand out every number once?",
        epilog="The exit code is 0 only if every strategy of this project was exact, wherever its "
        "store reaches all workers. Names may have wildcards: --strategy 'ours-*'.",
    )
    add = parser.add_argument
    add("--strategy", nargs="+", metavar="NAME", help=f"of: {', '.join(STRATEGIES)}")
    add("--server", nargs="+", metavar="NAME", help=f"of: {', '.join(SERVERS)}")
    add("--quick", action="store_true", help="a few of each, in less than a minute")
    add("--clients", type=positive, default=100, help="that ask at once (%(default)s)")
    add("--rounds", type=positive, help=f"requests of each client ({ROUNDS})")
    add("--seconds", type=float, help=f"after which no round begins ({SECONDS})")
    add("--json", action="store_true", help="print JSON instead of tables")
    add("--html", type=new_file, metavar="FILE", help="write a page to look at and to share")
    _add_own(parser.add_argument_group("your own application", "Its counter counts for real."))
    return parser


def _add_own(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--app", metavar="MODULE:APP", help="it, or a factory: yours:create_app('test')")
    add("--url", type=_checked(site_of), help="a server that runs already, instead of --app")
    add("--path", help="what to ask it for (/)")
    add("--method", help="how to ask it (GET; POST if there is a --body)")
    add("--header", type=_header, action="append", metavar="'NAME: VALUE'", help="to send along")
    add("--body", type=_body, metavar="TEXT|@FILE", help="to send along: JSON, or a form")
    add(
        "--number",
        type=_checked(reader),
        metavar="REGEX|PATH",
        help="where the number stands, if it is not the only one: 'visitor (\\d+)', '$.data.n'",
    )
    add(
        "--login",
        type=_login,
        metavar="'POST /login user=a&password=b'",
        help="a request that goes before, whose cookies are sent along",
    )
    add("--per-client", action="store_true", help="it counts for each client, by cookie")
    add(
        "--gunicorn-config",
        type=_existing,
        metavar="FILE",
        help="serve it as this file says, instead of under each server",
    )
    add("--python", type=_python, metavar="PATH", help="of the virtual environment it needs")


def _checked(check: Callable[[str], T]) -> Callable[[str], str]:
    """A text that the function accepts."""

    def checked(text: str) -> str:
        try:
            check(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from error
        return text

    return checked


def _existing(text: str) -> str:
    if not Path(text).is_file():
        raise argparse.ArgumentTypeError(f"there is no file {text}")
    return str(Path(text).absolute())


def _python(text: str) -> str:
    """A Python, or the directory of its virtual environment."""
    path = Path(text).absolute()
    path = path / "bin" / "python" if path.is_dir() else path
    if not os.access(path, os.X_OK):
        raise argparse.ArgumentTypeError(f"{path} is no Python")
    return str(path)


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon:
        raise argparse.ArgumentTypeError(f"{text!r} is no header such as 'Accept: text/html'")
    return name.strip(), value.strip()


def _body(text: str) -> bytes:
    return Path(text[1:]).read_bytes() if text.startswith("@") else text.encode()


def _login(text: str) -> Ask:
    words = text.split(None, 2)
    if len(words) < 2:
        raise argparse.ArgumentTypeError(f"{text!r} has no method and path")
    body = words[2].encode() if len(words) == 3 else None
    return Ask(words[0], words[1], _content_type(body, {}), body)
