"""Real Redis servers: one, a master with a replica and a Sentinel, and a cluster of three."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import redis
from backends import program
from redis.sentinel import Sentinel

from race.servers.processes import reserved_port

MASTER = "shared"
CLUSTER_NODES = 3


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
def watched_master(directory: Path) -> Iterator[tuple[str, list[subprocess.Popen[str]]]]:
    """A master, its replica and a Sentinel; returns the URL and the three processes."""
    with ExitStack() as stack:
        # A master waits five seconds for more replicas before it sends the first one its state.
        at_once = ("--save", "", "--repl-diskless-sync-delay", "0")
        master = stack.enter_context(redis_server(directory, *at_once))
        replica = stack.enter_context(
            redis_server(directory, "--save", "", "--replicaof", f"127.0.0.1 {master.port}")
        )
        # A Sentinel asks the master for its replicas when it starts, and then every ten seconds.
        _until(lambda: _follows(replica.port) and _has_replica(master.port))
        configuration = directory / "sentinel.conf"
        configuration.write_text(
            f"sentinel monitor {MASTER} 127.0.0.1 {master.port} 1\n"
            f"sentinel down-after-milliseconds {MASTER} 500\n"
            f"sentinel failover-timeout {MASTER} 2000\n"
        )
        sentinel = stack.enter_context(redis_server(directory, str(configuration), "--sentinel"))
        _until(lambda: _replicas(sentinel.port) == 1)
        yield f"redis+sentinel://127.0.0.1:{sentinel.port}/{MASTER}", [master, replica, sentinel]


def _follows(port: int) -> bool:
    with redis.Redis(port=port) as replica:
        return replica.info("replication")["master_link_status"] == "up"


def _has_replica(port: int) -> bool:
    """Whether a write is confirmed, which may take a second after the replica has all."""
    with redis.Redis(port=port) as master:
        master.set("warm-up", 1)
        master.delete("warm-up")
        return bool(master.wait(1, 100))


def _replicas(port: int) -> int:
    watcher = Sentinel([("127.0.0.1", port)])
    found = len(watcher.discover_slaves(MASTER))
    for client in watcher.sentinels:
        client.close()
    return found


@contextmanager
def redis_cluster(directory: Path) -> Iterator[str]:
    """Three masters that share the slots; returns the URL."""
    with ExitStack() as stack:
        ports = []
        for number in range(CLUSTER_NODES):
            home = directory / str(number)
            home.mkdir()
            options = ("--cluster-enabled", "yes", "--save", "", "--cluster-port")
            bus = stack.enter_context(reserved_port())
            server = stack.enter_context(redis_server(home, *options, str(bus)))
            ports.append(server.port)
        addresses = [f"127.0.0.1:{port}" for port in ports]
        create = ["--cluster", "create", *addresses, "--cluster-yes"]
        subprocess.run(
            [program("redis-cli", "valkey-cli"), *create], check=True, capture_output=True
        )
        _until(lambda: all(_knows_all_slots(port) for port in ports))
        yield f"redis+cluster://{','.join(addresses)}"


def _knows_all_slots(port: int) -> bool:
    with redis.Redis(port=port) as node:
        return node.execute_command("CLUSTER INFO")["cluster_state"] == "ok"


def _until(condition) -> None:
    for _ in range(2000):
        if condition():
            return
        threading.Event().wait(0.01)
    raise RuntimeError("the Redis servers did not find each other in time")


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
