"""Real Redis servers: one, a master with a replica and a Sentinel, and a cluster of three."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import redis
from backends import needed, program
from redis.sentinel import Sentinel

from race.servers.processes import reserved_port
from torture.servers.redis import (
    MASTER,
    Server,
    cluster,
    url_of_cluster,
    url_of_sentinel,
    watched,
)


@contextmanager
def redis_server(
    directory: Path, *options: str, port: int | None = None
) -> Iterator[subprocess.Popen[str]]:
    """A running server, with its ``port`` as an attribute; stopped at the end."""
    with ExitStack() as stack:
        port = port or stack.enter_context(reserved_port())
        command = [program("redis-server", "valkey-server"), *options]
        process = subprocess.Popen(
            [*command, "--bind", "127.0.0.1", "--port", str(port), "--dir", str(directory)],
            stdout=subprocess.PIPE,
            text=True,
        )
        process.port = port  # type: ignore[attr-defined]
        try:
            _wait_until_ready(process)
            yield process
        finally:
            process.kill()
            process.communicate()


def _wait_until_ready(server: subprocess.Popen[str]) -> None:
    assert server.stdout is not None
    log = ""
    for line in server.stdout:
        log += line
        if "eady to accept connections" in line or "Sentinel ID is" in line:
            # Nobody reads on: a pipe that is full would stop the server.
            threading.Thread(target=server.stdout.read, daemon=True).start()
            return
    raise RuntimeError(f"the Redis server ended at once:\n{log}")


@contextmanager
def watched_master(directory: Path) -> Iterator[tuple[str, tuple[Server, Server, Server]]]:
    """A master, its replica and a Sentinel; answers the URL and the three servers."""
    with ExitStack() as stack, needed():
        servers = watched(stack, directory)
        yield url_of_sentinel(servers[-1]), servers


@contextmanager
def redis_cluster(directory: Path) -> Iterator[str]:
    """Three masters that share the slots; answers the URL."""
    with ExitStack() as stack, needed():
        yield url_of_cluster(cluster(stack, directory))


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Redis server of the test session's own, which keeps nothing on disk."""
    with redis_server(tmp_path_factory.mktemp("redis"), "--save", "") as server:
        yield f"redis://127.0.0.1:{server.port}"


@pytest.fixture
def empty_redis(redis_url: str) -> Iterator[str]:
    """An empty database of the Redis server, apart from the one that `redis_url` leads to."""
    url = f"{redis_url}/1"
    yield url
    with redis.Redis.from_url(url) as server:
        server.flushdb()


@pytest.fixture(scope="session")
def sentinel_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with watched_master(tmp_path_factory.mktemp("sentinel")) as (url, _):
        yield url


@pytest.fixture
def empty_sentinel(sentinel_url: str) -> Iterator[str]:
    yield sentinel_url
    address = sentinel_url.partition("//")[2].partition("/")[0].split(":")
    watcher = Sentinel([(address[0], int(address[1]))])
    with watcher.master_for(MASTER) as master:
        master.flushdb()
    for client in watcher.sentinels:
        client.close()


@pytest.fixture(scope="session")
def cluster_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with redis_cluster(tmp_path_factory.mktemp("cluster")) as url:
        yield url


@pytest.fixture
def empty_cluster(cluster_url: str) -> Iterator[str]:
    yield cluster_url
    for address in cluster_url.partition("//")[2].split(","):
        with redis.Redis.from_url(f"redis://{address}") as node:
            node.flushdb()
