"""Clients of different workers never hold one lock at once, whoever of them is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from lock_client import LEASE

from race.clients.rush import Response, rush
from race.servers.serve import Server, serve

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
CLIENT = ROOT / "tests/support/lock_client.py"
TURNS = 10
KILLED = 2
# Guards against a hang, and nothing else.
SECONDS = 60

Event = dict[str, Any]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Four workers, which gunicorn replaces when they die."""
    directory = tmp_path_factory.mktemp("locks")
    env = {"FLASK_CACHE_TYPE": "filesystem", "FLASK_CACHE_DIR": str(directory)}
    with serve("gunicorn-sync", cwd=ROOT, env=env, timeout=SECONDS) as server:
        yield server


@contextmanager
def client(server: Server, turns: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, str(CLIENT), server.host, str(server.port), turns],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def killed_while_holding(server: Server) -> Event:
    """What a client said that got the lock, and was killed with it."""
    with client(server, "forever") as process:
        assert process.stdout
        event: Event = json.loads(process.stdout.readline())
        process.kill()
        return {**event, "until": event["asked"] + LEASE}


def workers(server: Server) -> list[int]:
    children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children")
    return [int(pid) for pid in children.read_text().split()]


def turns_of(process: subprocess.Popen[str]) -> list[Event]:
    out, _ = process.communicate(timeout=SECONDS)
    assert process.returncode == 0
    events = [json.loads(line) for line in out.splitlines()]
    starts = [event for event in events if event["event"] == "holds"]
    ends = {event["fence"]: event["until"] for event in events if event["event"] == "releases"}
    return [{**event, "until": ends[event["fence"]]} for event in starts]


def overlapping(turns: list[Event]) -> list[tuple[Event, Event]]:
    """The turns that began before the one with the next lower fence was over."""
    ordered = sorted(turns, key=lambda turn: turn["fence"])
    return [
        (first, second)
        for first, second in zip(ordered, ordered[1:], strict=False)
        if second["since"] < first["until"]
    ]


def test_the_check_sees_two_holders() -> None:
    """A turn that begins while another lasts is found, whoever printed first."""
    turns = [{"fence": 2, "since": 1.5, "until": 3.0}, {"fence": 1, "since": 1.0, "until": 2.0}]
    assert overlapping(turns) == [(turns[1], turns[0])]
    assert overlapping([turns[0], {"fence": 1, "since": 1.0, "until": 1.5}]) == []


def test_holders_are_killed(server: Server) -> None:
    """A killed holder has the lock until its lease ends, and then another one does, with its fence.

    Meanwhile the others take turns, each alone.
    """
    with client(server, str(TURNS)) as a, client(server, str(TURNS)) as b:
        turns = [killed_while_holding(server) for _ in range(KILLED)]
        turns += turns_of(a) + turns_of(b)
    assert len(turns) == 2 * TURNS + KILLED
    assert len({turn["fence"] for turn in turns}) == len(turns)
    assert overlapping(turns) == []


def test_workers_are_killed(server: Server) -> None:
    """A lock outlives the worker that gave it, and every other worker knows its holder."""
    taken = ask(server, "POST", b'{"lease": 3600}')
    token = json.loads(taken.body)["token"]
    for pid in workers(server):
        os.kill(pid, signal.SIGKILL)
    tries = rush(
        *(server.host, server.port, "POST", LOCK),
        clients=8,
        rounds=2,
        keep_alive=False,
        timeout=SECONDS,
    )
    assert {response.status for response in tries} <= {409, None}
    assert 409 in {response.status for response in tries}
    assert ask(server, "PUT", json.dumps({"token": token}).encode()).status == 200


LOCK = "/v1/locks/of-a-dead-worker"


def ask(server: Server, method: str, body: bytes) -> Response:
    headers = {"Content-Type": "application/json"}
    [response] = rush(
        *(server.host, server.port, method, LOCK),
        clients=1,
        rounds=1,
        body=body,
        headers=headers,
        timeout=SECONDS,
    )
    return response
