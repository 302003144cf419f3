"""One race: a strategy under a server, and a hundred clients at once."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from .clients.numbers import Reader, shown
from .clients.rush import Cookies, Response, rush
from .clients.target import FACTORY, TARGET_VARIABLE
from .judging.history import History
from .servers.processes import reserved_port
from .servers.programs import ROOT, missing_program, program, python_path
from .servers.recipes import RUNNING, has, missing, recipe_of
from .servers.serve import Server, ServerFailed, serve
from .strategy import Ask, Judged, Origin, Strategy

RESPONSE_SECONDS = 15.0
WORKERS_SECONDS = 20.0  # a busy machine takes long to start several
UNKNOWN_WORKERS, UNKNOWN_WORKERS_SECONDS = 64, 0.5
SERIAL_ROUNDS = 2
PATIENCE = 0.1  # some servers take seconds to end, and nothing is kept
OPENING_CLIENT = -1
LOG_LINES = 12


@dataclass(frozen=True)
class Load:
    """What the clients do.

    :param seconds: no round begins after that time.
    """

    clients: int = 100
    rounds: int = 20
    seconds: float | None = None


@dataclass(frozen=True)
class Place:
    """Where the server of a race runs.

    :param directory: its working directory.
    :param python: what starts it; its packages are the ones beside that.
    :param config: gunicorn's configuration, for `race.servers.recipes.OWN_GUNICORN`.
    :param url: of a server that runs already, for `race.servers.recipes.RUNNING`.
    """

    directory: Path = ROOT
    python: str = sys.executable
    config: str = ""
    url: str = ""


@dataclass(frozen=True)
class Race:
    """What came of a race: a history, or the reason why there is none.

    :param log: the last lines that the server has printed.
    """

    strategy: Strategy
    server: str
    history: History | None = None
    skipped: str = ""
    failed: str = ""
    log: str = ""


class Site(NamedTuple):
    """What requests are sent to."""

    host: str
    port: int
    secure: bool = False


HERE = Place()


def run(strategy: Strategy, server: str, load: Load, *, place: Place = HERE) -> Race:
    """Start all that the race needs, run it, and stop it all."""
    if lacking := what_is_missing(strategy, server, place.python):
        return Race(strategy, server, skipped=lacking)
    try:
        if server == RUNNING:
            return Race(strategy, server, _play(strategy, server, site_of(place.url), load))
        with ExitStack() as stack:
            env = _environment(strategy, place, stack)
            running = stack.enter_context(
                serve(
                    server,
                    FACTORY,
                    env=env,
                    cwd=place.directory,
                    patience=PATIENCE,
                    python=place.python,
                )
            )
            _wait_for_workers(running)
            history = _play(strategy, server, Site(running.host, running.port), load)
            return Race(strategy, server, history, log=running.log(LOG_LINES))
    except (ServerFailed, RuntimeError) as error:
        return Race(strategy, server, failed=str(error))


def what_is_missing(strategy: Strategy, server: str, python: str = sys.executable) -> str | None:
    """What prevents the race, in words: what is not installed; None when all is there."""
    if not server.startswith(strategy.servers):
        return f"it is a part of {strategy.servers}"
    lacking = (
        next((package for package in strategy.needs if not has(package)), None)
        or missing(server, python)
        or (missing_program(strategy.program) if strategy.program else None)
    )
    return f"{lacking} is not installed" if lacking else None


def site_of(url: str) -> Site:
    """The server that a URL names.

    :raises ValueError: it is no URL of HTTP or HTTPS.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{url!r} is no URL such as http://127.0.0.1:5000/next")
    secure = parts.scheme == "https"
    return Site(parts.hostname, parts.port or (443 if secure else 80), secure)


def _environment(strategy: Strategy, place: Place, stack: ExitStack) -> Mapping[str, str]:
    """The strategy's settings, with a directory, a port and a program of its own."""
    scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="race-")))
    state, beside = scratch / "state", scratch / "program"
    state.mkdir()
    beside.mkdir()
    fields = {
        "directory": str(state),
        "port": str(stack.enter_context(reserved_port())),
    }
    if strategy.program:
        fields["address"] = stack.enter_context(program(strategy.program, beside))
    settings = {name: _filled(value, fields) for name, value in strategy.env.items()}
    is_own = strategy.origin is Origin.YOURS
    ours = {
        TARGET_VARIABLE: strategy.target,
        "PYTHONPATH": python_path(_race_alone(scratch) if is_own else ROOT),
        "TMPDIR": str(scratch),  # a server that is killed leaves files there
    }
    if place.config:
        ours["RACE_GUNICORN_CONFIG"] = place.config
    return ours | settings


def _race_alone(scratch: Path) -> Path:
    """A directory from which nothing but the race can be imported.

    The project's own has modules such as ``app`` too, and ``sharedstate`` in another version than
    the environment of the application may have.
    """
    directory = scratch / "import"
    directory.mkdir()
    (directory / "race").symlink_to(ROOT / "race")
    return directory


def _filled(value: str, fields: Mapping[str, str]) -> str:
    """A setting with its fields filled in; `str.format` would trip over JSON."""
    for name, content in fields.items():
        value = value.replace(f"{{{name}}}", content)
    return value


def _wait_for_workers(server: Server) -> None:
    """Wait until each worker has responded: a race against a single one would prove little."""
    recipe = recipe_of(server.name)
    if recipe.workers == 1:
        return
    wanted = recipe.workers or UNKNOWN_WORKERS
    seconds = WORKERS_SECONDS if recipe.workers else UNKNOWN_WORKERS_SECONDS
    seen: set[str | None] = set()
    deadline = time.monotonic() + seconds
    while len(seen) < wanted and time.monotonic() < deadline:
        responses = rush(
            server.host, server.port, "GET", "/.race", clients=8, rounds=1, keep_alive=False
        )
        seen |= {response.worker for response in responses}


def _play(strategy: Strategy, server: str, site: Site, load: Load) -> History:
    rounds = min(load.rounds, SERIAL_ROUNDS) if recipe_of(server).is_serial else load.rounds
    is_each = strategy.judged is Judged.EACH
    jars = _logged_in(strategy, site, load.clients if is_each else 1)
    opening = [_opening(strategy, site, jars)] if _has_opening(strategy) else []
    if not is_each:
        given = dict(jars[0]) | dict(cookie for response in opening for cookie in response.cookies)
        jars = [tuple(given.items())] * load.clients
    responses = _rush(
        strategy.ask,
        site,
        clients=load.clients,
        rounds=rounds,
        seconds=load.seconds,
        # A client that kept its connection would stay with one worker.
        keep_alive=not is_each,
        cookies=is_each,
        jars=jars,
    )
    before = _before(opening, strategy.read)
    return History([*opening, *responses], strategy.judged, before=before, read=strategy.read)


def _rush(ask: Ask, site: Site, **options: Any) -> list[Response]:
    return rush(
        site.host,
        site.port,
        ask.method,
        ask.path,
        body=ask.body,
        headers=ask.headers,
        secure=site.secure,
        timeout=RESPONSE_SECONDS,
        **options,
    )


def _logged_in(strategy: Strategy, site: Site, clients: int) -> list[Cookies]:
    """The cookies of so many clients, each with a login of its own, if there is one.

    :raises RuntimeError: a response was an error, or set no cookie.
    """
    if strategy.login is None:
        return [()] * clients
    responses = _rush(strategy.login, site, clients=clients, rounds=1)
    for response in responses:
        if response.status is None or response.status >= 400 or not response.cookies:
            raise RuntimeError(f"the login set no cookie: {shown(response)}")
    return [response.cookies for response in responses]


def _has_opening(strategy: Strategy) -> bool:
    """Whether a request goes before the others: for its cookie, or for a counter in use."""
    is_somewhere = strategy.origin is Origin.YOURS and strategy.judged is Judged.ALL
    return is_somewhere or strategy.judged is Judged.ONE


def _opening(strategy: Strategy, site: Site, jars: list[Cookies]) -> Response:
    """The response to a first request, before there are others."""
    [response] = _rush(strategy.ask, site, clients=1, rounds=1, jars=jars)
    return replace(response, client=OPENING_CLIENT)


def _before(opening: list[Response], read: Reader) -> int:
    """What the counter stood at before it was asked for the first time."""
    numbers = [number for response in opening if (number := read(response)) is not None]
    return numbers[0] - 1 if numbers else 0
