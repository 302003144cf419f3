"""``python -m bench.http``: `POST /v1/counters/{key}` on each store beside an empty Flask view.

The view under Granian, the service as ``python app.py`` starts it, and in turn, several rounds of
it. After each round the counter has to stand at the number of requests that had a response.
Besides, increments in batches of 1,000, and with ``--before CHECKOUT`` those of another version.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any
from urllib.request import urlopen

from race.servers.recipes import SERVERS, Recipe
from race.servers.serve import Server, serve

from .redis_server import redis_server
from .report import duration, surroundings, table, verdict

ROOT = Path(__file__).parents[1]
SCRIPT = Path(__file__).with_name("post.lua")
BATCH_SCRIPT = Path(__file__).with_name("batch.lua")
BATCH_SIZE = 1000
CONNECTIONS = 32
WARM_UP_SECONDS = 1
SETTLE_SECONDS = 0.1
SERVER = "granian"
SERVICE = "app.py"
# Not one of the race's servers, as it serves nothing but the service.
SERVERS[SERVICE] = Recipe(
    ("granian",), "{python} app.py --host {host} --port {port} --workers 2", workers=2
)
PACKAGES = ("Flask", "Werkzeug", "granian", "redis", "hiredis", "lmdb")

COUNTER = "/v1/counters/bench"
EMPTY = "empty Flask view"
BEFORE = ", before"
BATCHES = f", in batches of {BATCH_SIZE:,}"
REQUIRED = {"filesystem": 0.8, "lmdb": 0.9}
# `simple` is left out: its state is one process's, and two workers would give each number twice.
STORES = ("filesystem", "lmdb", "redis")


class WrongResponses(AssertionError):
    """Requests failed, or a counter does not stand at the number of its increments."""


@dataclass
class Contestant:
    """A running server and what to post to it.

    :param counter: the counter that each request adds ``step`` to; none is counted if empty.
    """

    server: Server
    path: str
    counter: str = ""
    step: int = 1
    script: Path = SCRIPT

    def play(self, seconds: int) -> dict[str, Any]:
        """What wrk measured; the counter is checked."""
        before = self.count()
        shown = subprocess.run(
            ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--latency"]
            + ["-s", str(self.script), self.server.url + self.path],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        figures: dict[str, Any] = json.loads(shown.splitlines()[-1])
        figures["rate"] = self.step * figures["requests"] / figures["microseconds"] * 1e6
        if figures["refused"] or figures["broken"]:
            raise WrongResponses(f"{self.server.name}: not all requests succeeded: {figures}")
        self._check(self.count() - before, figures["requests"])
        return figures

    def count(self) -> int:
        """What the counter stands at when the requests in flight have come to their end."""
        if not self.counter:
            return 0
        time.sleep(SETTLE_SECONDS)
        with urlopen(self.server.url + self.counter) as response:
            number: int = json.load(response)["value"]
        return number

    def _check(self, counted: int, done: int) -> None:
        # wrk leaves when its time is over, with a request in flight on each connection.
        if self.counter and not 0 <= counted / self.step - done <= CONNECTIONS:
            raise WrongResponses(f"{done} requests had a response, and {counted} were counted")


def main(arguments: list[str] | None = None) -> None:
    options = _parse(arguments)
    if shutil.which("wrk") is None:
        print("skipped: bench.http, for want of wrk", file=sys.stderr)
        return
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        directory = Path(name)
        with _running(directory, options.only, options.before) as contestants:
            rounds = _measure(contestants, options.rounds, options.seconds)
        about = surroundings(
            packages=PACKAGES, programs=["redis-server", "wrk"], directory=directory
        )
    print(
        f"{about}  \nMethod: medians of {options.rounds} rounds of {options.seconds} s, in turn; "
        f"2 workers, wrk with {CONNECTIONS} connections beside it\n"
    )
    _print(rounds)


@contextmanager
def _running(
    directory: Path, stores: list[str], before: Path | None
) -> Iterator[dict[str, Contestant]]:
    """The empty view and the service on each store, each on a server of its own."""
    with ExitStack() as stack:
        url = stack.enter_context(redis_server(directory))
        empty = stack.enter_context(serve(SERVER, "bench.empty:create_app()", cwd=ROOT))
        contestants = {EMPTY: Contestant(empty, "/empty")}
        for name in stores:
            if name == "redis" and url is None:
                print("skipped: redis, for want of redis-server", file=sys.stderr)
                continue
            env = {"FLASK_CACHE_TYPE": name, "FLASK_CACHE_REDIS_URL": url or ""}
            for checkout in filter(None, (ROOT, before)):
                own = {"FLASK_CACHE_DIR": str(directory / name / checkout.name)}
                server = stack.enter_context(serve(SERVICE, env=env | own, cwd=checkout))
                with urlopen(server.url + COUNTER, data=b""):
                    label = name if checkout == ROOT else f"{name}{BEFORE}"
                    contestants[label] = Contestant(server, COUNTER, COUNTER)
            contestants[f"{name}{BATCHES}"] = Contestant(
                contestants[name].server, "/v1/batch", COUNTER, BATCH_SIZE, BATCH_SCRIPT
            )
        yield contestants


def _measure(
    contestants: dict[str, Contestant], rounds: int, seconds: int
) -> dict[str, list[dict[str, Any]]]:
    for contestant in contestants.values():
        contestant.play(WARM_UP_SECONDS)
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in contestants}
    for turn in range(rounds):
        for name, contestant in contestants.items():
            found[name].append(contestant.play(seconds))
        print(f"round {turn + 1} of {rounds}", file=sys.stderr, flush=True)
    return found


def _print(rounds: dict[str, list[dict[str, Any]]]) -> None:
    middle = {
        name: {figure: median(turn[figure] for turn in turns) for figure in turns[0]}
        for name, turns in rounds.items()
    }
    rows = []
    for name, figures in middle.items():
        if name.endswith(BATCHES):
            continue
        ratio, required = figures["rate"] / middle[EMPTY]["rate"], REQUIRED.get(name)
        label = f"`POST` on **{name}**" if name != EMPTY else name
        row = [label, f"{figures['rate']:,.0f}", duration(figures["p50"])]
        row += [duration(figures["p99"]), duration(figures["slowest"]), f"{ratio:.2f}"]
        row += [f"≥ {required}", verdict(ratio >= required)] if required else ["–", "–"]
        rows.append(row)
    header = ["", "requests/s", "p50", "p99", "slowest", "of the empty view", "required", "met"]
    print(table(header, rows))
    for name, figures in middle.items():
        if name.endswith(BATCHES):
            print(f"\n{name}: {figures['rate']:,.0f} increments a second")
        if name.endswith(BEFORE):
            ratio = middle[name.removesuffix(BEFORE)]["rate"] / figures["rate"]
            print(f"\n{name.removesuffix(BEFORE)}: {ratio:.3f} of what it was before")


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.http", description=__doc__)
    parser.add_argument("--seconds", type=int, default=3, help="a round (%(default)s)")
    parser.add_argument("--rounds", type=int, default=7, help="how many (%(default)s)")
    parser.add_argument(
        "--only", nargs="+", metavar="STORE", choices=STORES, default=[*STORES],
        help=f"stores: {', '.join(STORES)}",
    )  # fmt: skip
    parser.add_argument(
        "--before", type=Path, metavar="CHECKOUT", help="a checkout of another version to race"
    )
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
