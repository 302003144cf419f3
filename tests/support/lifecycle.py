"""What the tests of a store's life share: which stores, and how they are opened and run."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from backends import BACKENDS

from sharedstate import State, StoreFull

TESTS = Path(__file__).parents[1]
SECONDS = 90  # Guards against a hang, and nothing else.

# Python warns of what these tests are about: a fork in a process with threads.
FORKED = "ignore::DeprecationWarning:__main__"

Settings = dict[str, str]


def of(*names: str) -> Any:
    """Run on these stores of the table."""
    chosen = [pytest.param(b, id=b.id) for b in BACKENDS if b.name in names]
    return pytest.mark.parametrize("backend", chosen)


def of_ids(*ids: str) -> Any:
    """Run on these lines of the table."""
    chosen = [pytest.param(b, id=b.id) for b in BACKENDS if b.id in ids]
    return pytest.mark.parametrize("backend", chosen)


embedded = of("filesystem", "lmdb")
# Other lines of the table are opened by the same module as one of these.
OPENED_ALIKE = ("redis-sentinel", "redis-cluster", "database-mariadb")
_SHARED = [pytest.param(b, id=b.id) for b in BACKENDS if b.scope != "process"]
shared_by_any_way = pytest.mark.parametrize("backend", _SHARED)
shared = pytest.mark.parametrize("backend", [p for p in _SHARED if p.id not in OPENED_ALIKE])


@contextmanager
def opened(settings: Settings, **more: Any) -> Iterator[State]:
    state = State.from_settings({**settings, **more})
    yield state
    state.close()


def run(code: str, settings: Settings, *options: str) -> subprocess.CompletedProcess[str]:
    """A new interpreter that runs the code, with `state` on these settings."""
    prelude = (
        "import json, os, sys, threading\n"
        "from sharedstate import State\n"
        "settings = json.loads(sys.argv[1])\n"
        "state = State.from_settings(settings)\n"
    )
    command = [sys.executable, "-X", "faulthandler", *options, "-c"]
    process = subprocess.Popen(
        [*command, prelude + textwrap.dedent(code), json.dumps(settings)],
        cwd=TESTS.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        out, err = process.communicate(timeout=SECONDS)
    except subprocess.TimeoutExpired:
        # With whatever it has forked, and each of them says where it was.
        os.killpg(process.pid, signal.SIGABRT)
        raise AssertionError("it hangs:\n" + "\n".join(process.communicate())) from None
    return subprocess.CompletedProcess(command, process.returncode, out, err)


def numbers_of(process: subprocess.CompletedProcess[str]) -> list[int]:
    assert (process.returncode, process.stderr) == (0, "")
    return [int(word) for word in process.stdout.split()]


def inc_anew(settings: Settings) -> int:
    with opened(settings) as state:
        return state.inc("n")


def forever() -> Iterator[None]:
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        yield


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def fill(state: State, size: int, start: int = 0) -> dict[str, str]:
    """What could be stored until the store was full."""
    stored = {}
    try:
        for i in range(start, start + 100_000):
            value = f"{i}".ljust(size, "x")
            state.set(f"k{i}", value)
            stored[f"k{i}"] = value
    except StoreFull:
        return stored
    raise AssertionError("it is never full")


def records(store: Any) -> int:
    """How many there are with those that have expired, in whatever is larger: table or index."""
    if store.name == "simple":
        return max(len(store._records), len(store._expiries) // 2)
    if store.name == "lmdb":
        environment = store._opened.value
        with environment.env.begin() as transaction:
            counts = (transaction.stat(), transaction.stat(environment.expiries))
            return max(count["entries"] for count in counts)
    connection = sqlite3.connect(store.describe()["location"])
    [[count]] = connection.execute("SELECT count(*) FROM entries").fetchall()
    connection.close()
    return count
