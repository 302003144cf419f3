"""One race: a strategy under a server, and a hundred clients at once."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

from .clients import Answer, cookie_header, rush
from .history import History, number_in
from .processes import reserved_port
from .programs import ROOT, missing_program, program, python_path
from .recipes import SERVERS, missing
from .servers import Server, ServerFailed, serve
from .strategy import Judged, Origin, Strategy
from .target import FACTORY, TARGET_VARIABLE

ANSWER_SECONDS = 15.0
WORKERS_SECONDS = 3.0
SERIAL_ROUNDS = 2
PATIENCE = 0.1  # some servers take seconds to end, and nothing is kept
OPENING_CLIENT = -1


@dataclass(frozen=True)
class Load:
    """What the clients do.

    :param seconds: no round begins after that time.
    """

    clients: int = 100
    rounds: int = 20
    seconds: float | None = None


@dataclass(frozen=True)
class Race:
    """What came of a race: a history, or the reason why there is none."""

    strategy: Strategy
    server: str
    history: History | None = None
    skipped: str = ""
    failed: str = ""


def run(strategy: Strategy, server: str, load: Load, *, directory: Path | None = None) -> Race:
    """Start all that the race needs, run it, and stop it all.

    :param directory: the working directory of the server; the project's by default.
    """
    if lacking := what_is_missing(strategy, server):
        return Race(strategy, server, skipped=f"{lacking} is not installed")
    try:
        with ExitStack() as stack:
            env = _environment(strategy, stack)
            running = stack.enter_context(
                serve(server, FACTORY, env=env, cwd=directory or ROOT, patience=PATIENCE)
            )
            _wait_for_workers(running)
            return Race(strategy, server, history=_play(strategy, running, load))
    except (ServerFailed, RuntimeError) as error:
        return Race(strategy, server, failed=str(error))


def what_is_missing(strategy: Strategy, server: str) -> str | None:
    """The first package or program that is not installed; None when all is there."""
    packages = [package for package in strategy.needs if find_spec(package) is None]
    if packages:
        return packages[0]
    return missing(server) or (missing_program(strategy.program) if strategy.program else None)


def _environment(strategy: Strategy, stack: ExitStack) -> Mapping[str, str]:
    """The strategy's settings, with a directory, a port and a program of its own."""
    home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="race-")))
    state, beside = home / "state", home / "program"
    state.mkdir()
    beside.mkdir()
    fields = {
        "directory": str(state),
        "port": str(stack.enter_context(reserved_port())),
    }
    if strategy.program:
        fields["address"] = stack.enter_context(program(strategy.program, beside))
    settings = {name: _filled(value, fields) for name, value in strategy.env.items()}
    ours = {
        TARGET_VARIABLE: strategy.target,
        "PYTHONPATH": python_path(),
        "TMPDIR": str(home),  # a server that is killed leaves files there
    }
    return ours | settings


def _filled(value: str, fields: Mapping[str, str]) -> str:
    """A setting with its fields filled in; `str.format` would trip over JSON."""
    for name, content in fields.items():
        value = value.replace(f"{{{name}}}", content)
    return value


def _wait_for_workers(server: Server) -> None:
    """Until each worker has answered: a race against one that is still alone would prove little."""
    recipe = SERVERS[server.name]
    if recipe.workers == 1:
        return
    seen: set[str | None] = set()
    deadline = time.monotonic() + WORKERS_SECONDS
    while len(seen) < recipe.workers and time.monotonic() < deadline:
        answers = rush(
            server.host, server.port, "GET", "/.answers", clients=8, rounds=1, keep_alive=False
        )
        seen |= {answer.worker for answer in answers}


def _play(strategy: Strategy, server: Server, load: Load) -> History:
    rounds = min(load.rounds, SERIAL_ROUNDS) if SERVERS[server.name].is_serial else load.rounds
    opening = [_opening(strategy, server)] if _has_opening(strategy) else []
    cookies = cookie_header(cookie for answer in opening for cookie in answer.cookies)
    answers = rush(
        server.host,
        server.port,
        strategy.method,
        strategy.path,
        clients=load.clients,
        rounds=rounds,
        seconds=load.seconds,
        timeout=ANSWER_SECONDS,
        headers={"Cookie": cookies} if cookies else {},
        # A client that kept its connection would stay with one worker.
        keep_alive=strategy.judged is not Judged.EACH,
        cookies=strategy.judged is Judged.EACH,
    )
    return History([*opening, *answers], strategy.judged, before=_before(opening))


def _has_opening(strategy: Strategy) -> bool:
    """Whether a request goes before the others: for its cookie, or for a counter in use."""
    is_somewhere = strategy.origin is Origin.YOURS and strategy.judged is Judged.ALL
    return is_somewhere or strategy.judged is Judged.ONE


def _opening(strategy: Strategy, server: Server) -> Answer:
    """The answer to a first request, before there are others."""
    [answer] = rush(
        server.host, server.port, strategy.method, strategy.path, clients=1, rounds=1,
        timeout=ANSWER_SECONDS,
    )  # fmt: skip
    return replace(answer, client=OPENING_CLIENT)


def _before(opening: list[Answer]) -> int:
    """What the counter stood at before it was asked for the first time."""
    numbers = [number for answer in opening if (number := number_in(answer)) is not None]
    return numbers[0] - 1 if numbers else 0
