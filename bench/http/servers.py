"""Starts what is measured, each on a server of its own, all at once."""

from __future__ import annotations

import json
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from itertools import count
from pathlib import Path

from race.servers.processes import HOST, reserved_port, running
from race.servers.recipes import Recipe, add_recipe
from race.servers.serve import serve

from ..etcd_cluster import etcd_cluster
from ..redis_server import redis_server
from .checks import faults
from .contestants import (
    BATCH_SIZE,
    SERVICE,
    STOCK,
    WEBDIS,
    Contestant,
    Running,
    Way,
    batches,
    increments,
    nothing,
    reads,
    writes,
)
from .load import Load

ROOT = Path(__file__).parents[2]
STATIC = "static"
EMPTY = "empty"
EMPTY_GTHREAD = "empty-gthread"
GTHREAD = "gunicorn-gthread"
BEFORE = ", before"
BATCH_CASE = (32, 1)
START_SECONDS = 10
TITLES = {
    STATIC: "a static response of Granian",
    EMPTY: "empty Flask view, Granian",
    EMPTY_GTHREAD: "empty Flask view, gthread",
    "filesystem": "**filesystem**",
    "filesystem-full": "**filesystem**, full durability",
    "lmdb": "**lmdb**",
    "lmdb-full": "**lmdb**, full durability",
    "redis": "**redis**",
    "etcd": "**etcd**, three members",
    "cache-filesystem": "our `Cache`, filesystem, gthread",
    "cache-filesystem-full": "our `Cache`, filesystem, full durability, gthread",
    "cache-lmdb": "our `Cache`, lmdb, gthread",
    "cache-lmdb-full": "our `Cache`, lmdb, full durability, gthread",
    "redis-py": "redis-py, gthread",
    "diskcache": "diskcache, gthread",
    "webdis": "webdis",
}
ALWAYS = (STATIC, EMPTY, EMPTY_GTHREAD)
CHOICES = tuple(name for name in TITLES if name not in ALWAYS)
SERVICE_NAMES = ("filesystem", "filesystem-full", "lmdb", "lmdb-full", "redis", "etcd")

# Not among the race's servers, as they serve nothing but the service and its limit.
add_recipe("app.py", Recipe(("granian",), "{python} app.py --host {host} --port {port}"))
add_recipe(
    "limit",
    Recipe(
        ("granian",),
        "{python} -m granian --interface rsgi --host {host} --port {port} --workers 2"
        " --runtime-mode mt --runtime-threads 1 --http 1 --no-ws --backlog 1024"
        " --workers-kill-timeout 2 {target}",
    ),
)


@contextmanager
def contestants(
    load: Load, directory: Path, names: Sequence[str], before: Path | None, keys: int
) -> Iterator[list[Contestant]]:
    """The contestants of these names, running, and those that all are compared with.

    What cannot be started is named on stderr and left out.

    :param directory: where the state lies.
    :param before: a checkout of another version of the service to measure beside this one.
    :param keys: how many keys are read at most.
    """
    with ExitStack() as stack:
        url = stack.enter_context(redis_server(directory))
        etcd = stack.enter_context(etcd_cluster(directory)) if "etcd" in names else None
        starter = _Starter(stack, load, directory, url, etcd, keys)
        found = starter.limits()
        for name in names:
            if lack := _lack(name, url, etcd):
                print(f"skipped: {name}, for want of {lack}", file=sys.stderr)
                continue
            found += starter.start(name, before)
        yield found


def _lack(name: str, url: str | None, etcd: str | None) -> str | None:
    """What is not installed that a contestant needs."""
    if "redis" in name or name == "webdis":
        if url is None:
            return "redis-server"
    if name == "etcd" and etcd is None:
        return "etcd"
    if name == "webdis" and shutil.which("webdis") is None:
        return "webdis"
    packages = {"redis": "redis", "redis-py": "redis", "diskcache": "diskcache"}
    package = "lmdb" if "lmdb" in name else packages.get(name)
    return package if package and find_spec(package) is None else None


class _Starter:
    """Starts servers, each with a directory and a Redis database of its own."""

    def __init__(
        self,
        stack: ExitStack,
        load: Load,
        directory: Path,
        url: str | None,
        etcd: str | None,
        keys: int,
    ) -> None:
        self._stack = stack
        self._load = load
        self._directory = directory
        self._url = url or ""
        self._etcd = etcd or ""
        self._keys = keys
        self._databases = count()

    def limits(self) -> list[Contestant]:
        """What all others are compared with."""
        applications = "bench.http.applications"
        servers = (
            (STATIC, "limit", "bench.http.limit:app"),
            (EMPTY, "granian", f"{applications}:empty"),
            (EMPTY_GTHREAD, GTHREAD, f"{applications}:empty"),
        )
        return [
            Contestant(self._serve(name, server, target), "nothing", nothing)
            for name, server, target in servers
        ]

    def start(self, name: str, before: Path | None) -> list[Contestant]:
        """The contestants of one name; also those of another version of the service."""
        if name == "webdis":
            return [self._counter(self._webdis(), is_exact=False)]
        if name not in SERVICE_NAMES:
            view = "cache" if name.startswith("cache-") else name.replace("-", "_")
            settings = _settings(name.removeprefix("cache-")) if view == "cache" else {}
            target = f"bench.http.applications:{view}"
            return [self._counter(self._serve(name, GTHREAD, target, settings, STOCK))]
        found = self._service(name, ROOT)
        if before is not None:
            found += self._service(name, before)[:1]
        return found

    def _service(self, name: str, checkout: Path) -> list[Contestant]:
        """Increments, and of the default durability also reads and batches."""
        label = name if checkout == ROOT else f"{name}{BEFORE}"
        settings = {"FLASK_CACHE_URL": self._etcd_url()} if name == "etcd" else _settings(name)
        started = self._serve(label, "app.py", "", settings, SERVICE, checkout)
        found = [self._counter(started)]
        if name.endswith("-full"):
            return found
        if wrong := faults(self._load.once(started.port, writes(self._keys))):
            raise RuntimeError(f"{name}: {', '.join(wrong)}")
        batch = Contestant(started, "batch", batches, BATCH_SIZE, cases=(BATCH_CASE,))
        return [*found, Contestant(started, "read", reads), batch]

    def _counter(self, started: Running, is_exact: bool = True) -> Contestant:
        assert started.way is not None
        return Contestant(started, "increment", increments(started.way), 1, is_exact)

    def _serve(
        self,
        name: str,
        server: str,
        target: str,
        settings: Mapping[str, str] | None = None,
        way: Way | None = None,
        cwd: Path = ROOT,
    ) -> Running:
        state = Path(tempfile.mkdtemp(dir=self._directory))
        url = self._redis_url() if name.startswith("redis") else ""
        env = {"FLASK_CACHE_DIR": str(state), "FLASK_CACHE_REDIS_URL": url}
        env |= {"BENCH_DIRECTORY": str(state), "BENCH_REDIS_URL": url}
        env |= settings or {}
        started = self._stack.enter_context(serve(server, target, env=env, cwd=cwd))
        return Running(name, started.port, way)

    def _redis_url(self) -> str:
        return f"{self._url.rpartition('/')[0]}/{next(self._databases)}"

    def _etcd_url(self) -> str:
        """With a namespace for each version that is measured."""
        return f"{self._etcd}/{next(self._databases)}"

    def _webdis(self) -> Running:
        port = self._stack.enter_context(reserved_port())
        redis = self._redis_url().removeprefix("redis://")
        file = self._directory / "webdis.json"
        log = self._stack.enter_context(open(self._directory / "webdis.log", "wb"))
        file.write_text(json.dumps(_webdis_settings(redis, port, self._directory)))
        self._stack.enter_context(running(["webdis", str(file)], log))
        _wait_until_it_listens(port)
        return Running("webdis", port, WEBDIS)


def _wait_until_it_listens(port: int) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        with socket.socket() as probe:
            if probe.connect_ex((HOST, port)) == 0:
                return
        if time.monotonic() > deadline:
            raise RuntimeError("webdis did not start")
        time.sleep(0.02)


def _settings(name: str) -> dict[str, str]:
    store, _, durability = name.partition("-")
    return {"FLASK_CACHE_TYPE": store, "FLASK_CACHE_DURABILITY": durability or "normal"}


def _webdis_settings(redis: str, port: int, directory: Path) -> dict[str, object]:
    address, _, database = redis.partition("/")
    host, _, redis_port = address.partition(":")
    return {
        "redis_host": host,
        "redis_port": int(redis_port),
        "database": int(database),
        "http_host": HOST,
        "http_port": port,
        "threads": 2,
        "pool_size": 10,
        "daemonize": False,
        "verbosity": 0,
        "logfile": str(directory / "webdis.log"),
        "acl": [{"disabled": ["DEBUG"]}],
    }
