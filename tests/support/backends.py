"""The stores that the tests hold to one contract, and how time passes in each.

To test another store, add a line to `BACKENDS`, and a fixture for its server if it has one.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.sharedctypes import RawValue
from typing import Any, NoReturn, Protocol

import pytest

from sharedstate.stores.base import Store
from torture.servers.node import Missing


class Clock(Protocol):
    """Lets time pass for the records of a store, without any passing for the tests."""

    def advance(self, seconds: float) -> None: ...


class FakeClock:
    """The time of a store that looks at a clock: it stands still until it is moved."""

    def __init__(self, store: Store, settings: Mapping[str, Any]) -> None:
        self.now = 1_800_000_000.0
        store.clock = self

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


class RedisClock:
    """Brings every key of a Redis database nearer to its end: a server's time cannot be moved."""

    def __init__(self, store: Store, settings: Mapping[str, Any]) -> None:
        self._connect = innermost(store)._connection.connect

    def advance(self, seconds: float) -> None:
        with self._connect() as server:
            keys = list(server.scan_iter(count=1000))
            looks = server.pipeline(transaction=False)
            for key in keys:
                looks.pttl(key)
            moves = server.pipeline(transaction=False)
            for key, left in zip(keys, looks.execute(), strict=True):
                if left >= 0:  # Redis returns -1 for a key that never ends.
                    moves.pexpire(key, max(left - round(seconds * 1000), 0))
            moves.execute()


class ManagerClock:
    """How far ahead the clock of the tests' manager is, which reads it in memory that it shares."""

    ahead = RawValue("d", 0)

    def __init__(self, store: Store, settings: Mapping[str, Any]) -> None:
        pass

    def advance(self, seconds: float) -> None:
        self.ahead.value += seconds

    @classmethod
    def time(cls) -> float:
        return time.time() + cls.ahead.value


@dataclass(frozen=True)
class Backend:
    """How the tests open a store, and what it is expected to be able to do."""

    name: str
    scope: str
    server: str | None = None
    """The fixture that has its server running, empty, and returns its URL."""
    clock: Callable[[Store, Mapping[str, Any]], Clock] = FakeClock
    can: frozenset[str] = frozenset({"keys", "once", "atomic_batch"})
    slow: bool = False
    """Whether its contract tests take longer than those of the others together."""
    prefix: str = "test:"
    """Before all keys; in a cluster a hash tag, so that they are on one node."""
    id: str = ""
    """What it is called in the tests' names, if not by its store."""
    options: Mapping[str, str] = field(default_factory=dict)
    """More of its Flask configuration."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "id", self.id or self.name)

    def settings(self, address: str) -> dict[str, str]:
        """The Flask configuration; `address` is a URL, or a directory where it has no server."""
        where = "CACHE_URL" if self.server else "CACHE_DIR"
        # What a busy machine does to the waiting time is not what the tests are about.
        return {"CACHE_TYPE": self.name, "CACHE_TIMEOUT": "30", where: address, **self.options}


BACKENDS = [
    Backend("database", id="database-sqlite", scope="host", server="sqlite_url"),
    Backend(
        "database",
        id="database-postgresql",
        scope="network",
        server="empty_postgresql",
        slow=True,
    ),
    Backend("database", id="database-mariadb", scope="network", server="empty_mariadb", slow=True),
    Backend("simple", scope="process"),
    Backend("filesystem", scope="host"),
    Backend("lmdb", scope="host"),
    Backend("manager", scope="host", server="empty_manager", clock=ManagerClock),
    Backend("redis", scope="network", server="empty_redis", clock=RedisClock),
    Backend(
        "redis-sentinel", scope="network", server="empty_sentinel", clock=RedisClock, slow=True
    ),
    Backend(
        "etcd",
        scope="network",
        server="empty_etcd",
        slow=True,
    ),
    Backend("memcached", scope="network", server="empty_memcached", can=frozenset()),
    Backend(
        "redis-cluster",
        scope="network",
        server="empty_cluster",
        clock=RedisClock,
        slow=True,
        prefix="{test}:",
    ),
]


IN_THE_STATE = pytest.mark.on("simple", "redis")
"""For what the state decides before it asks a store: one in the process, and a server."""
ONE_OF_EACH_KIND = pytest.mark.on("simple", "filesystem", "redis", "memcached")
"""For what is made of operations that each store is held to: in the process, in a file, on a
server, and where there are no transactions."""
ON_ALL = pytest.mark.on(*(backend.id for backend in BACKENDS))
"""For the races among them."""

CROWDS = [
    pytest.param(backend, kind, id=f"{kind}-{backend.id}")
    for backend in BACKENDS
    for kind in ("threads", "forked")
    if (kind == "threads") == (backend.scope == "process")
    and backend.id in ("simple", "filesystem", "lmdb", "redis", "memcached")
]
"""Stores with the kind of crowd that shares them, for a race of what is made of operations: those
are raced on every store."""

GREENLETS = [
    pytest.param(backend, "greenlets", id=f"greenlets-{backend.id}")
    for backend in BACKENDS
    if backend.id in ("filesystem", "redis")
]


# The others are slower, or another way to one of these: they meet fewer crowds.
_ALL_CROWDS = ("simple", "filesystem", "redis")
# They send the commands of "redis" by other connections; test_forks.py forks with those.
_OTHER_CONNECTIONS = ("redis-sentinel", "redis-cluster")


def meets(backend: Backend, kind: str) -> bool:
    """Whether such a crowd shares the store, and meets it in these tests."""
    if backend.scope == "process":
        return kind in ("threads", "greenlets")
    if backend.id in _OTHER_CONNECTIONS:
        return kind == "threads"
    if kind == "spawned":
        return backend.id == "filesystem"
    if backend.id == "etcd":  # Processes remember revisions each for itself, which threads share.
        return kind == "forked"
    return backend.id in _ALL_CROWDS or kind in ("threads", "forked")


def innermost(store: Store) -> Any:
    """The store that has the records, behind those that stand before it."""
    while hasattr(store, "_store"):
        store = store._store
    return store


def program(*names: str) -> str:
    """The path of the first of these programs that is installed."""
    return next(filter(None, map(shutil.which, names)), None) or give_up(f"{names[0]} is missing")


@contextmanager
def needed() -> Iterator[None]:
    """A block whose servers have to be installed."""
    try:
        yield
    except Missing as error:
        give_up(str(error))


def give_up(reason: str) -> NoReturn:
    """What is missing fails a test in CI, and skips it elsewhere."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


def about(seconds: float) -> Any:
    """Equal to a remaining time of `seconds`, on a server whose own time goes on meanwhile."""
    return pytest.approx(seconds, abs=15)
