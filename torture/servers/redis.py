"""Redis: one server, a master that a Sentinel watches, and a cluster."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

from race.servers.processes import HOST, reserved_port

from .deployment import Deployment, Start
from .node import Node, listens, program, wait_until
from .proxy import Proxy

MASTER = "shared"
MASTERS = 3
DURABLE = ("--appendonly", "yes", "--appendfsync", "always")
ASYNCHRONOUS = "replication is asynchronous: a fail-over can lose acknowledged writes"
LOSSES = dict.fromkeys(("failover", "server-kill", "server-stop"), ASYNCHRONOUS)
NODE_MILLISECONDS = "500"


class Server(Node):
    """A Redis server, or a Sentinel."""

    def __init__(self, stack: ExitStack, directory: Path, name: str, *options: str) -> None:
        self.port = stack.enter_context(reserved_port())
        home = directory / name
        home.mkdir()
        command = [
            program("redis-server", "valkey-server"),
            *options,
            *("--bind", HOST, "--port", str(self.port), "--dir", str(home), "--save", ""),
        ]
        super().__init__(name, command, home / "log", lambda: bool(self.ask("PING")))
        stack.enter_context(closing(self))

    def ask(self, *command: str) -> Any:
        """What it responds, or `None` if it does not."""
        import redis

        if not listens(self.port):
            return None
        with redis.Redis(host=HOST, port=self.port, socket_timeout=1, decode_responses=True) as one:
            try:
                return one.execute_command(*command)
            except redis.RedisError:
                return None

    def information(self, section: str) -> dict[str, Any]:
        """A part of what it says about itself."""
        return self.ask("INFO", section) or {}


@contextmanager
def _one(directory: Path) -> Iterator[Deployment]:
    """A server that has on its disk what it has acknowledged."""
    with ExitStack() as stack:
        server = Server(stack, directory, "redis", *DURABLE)
        server.start()
        proxy = stack.enter_context(closing(Proxy(server.port)))
        settings = {"CACHE_URL": f"redis://{HOST}:{proxy.port}"}
        yield Deployment("redis", settings, nodes=[server], proxies=[proxy])


def watched(stack: ExitStack, directory: Path, *options: str) -> tuple[Server, Server, Server]:
    """A master and its replica, and the Sentinel that lets one of them lead."""
    # A master waits five seconds for more replicas before it sends the first one its state.
    at_once = (*options, "--repl-diskless-sync-delay", "0")
    first = Server(stack, directory, "first", *at_once)
    first.start()
    second = Server(stack, directory, "second", *at_once, "--replicaof", f"{HOST} {first.port}")
    second.start()
    # A Sentinel asks the master for its replicas when it starts, and then every ten seconds.
    wait_until(lambda: second.information("REPLICATION").get("master_link_status") == "up")
    wait_until(lambda: _is_confirmed(first))
    configuration = directory / "sentinel.conf"
    configuration.write_text(
        f"sentinel monitor {MASTER} {HOST} {first.port} 1\n"
        f"sentinel down-after-milliseconds {MASTER} {NODE_MILLISECONDS}\n"
        f"sentinel failover-timeout {MASTER} 2000\n"
    )
    sentinel = Server(stack, directory, "sentinel", str(configuration), "--sentinel")
    sentinel.start()
    wait_until(lambda: bool(sentinel.ask("SENTINEL", "REPLICAS", MASTER)))
    return first, second, sentinel


def cluster(stack: ExitStack, directory: Path, *options: str, replicas: int = 0) -> list[Server]:
    """Three masters that share the slots, each with so many replicas."""
    servers = []
    for number in range(MASTERS * (1 + replicas)):
        bus = ("--cluster-port", str(stack.enter_context(reserved_port())))
        more = ("--cluster-enabled", "yes", *bus, *options)
        servers.append(Server(stack, directory, f"node {number}", *more))
        servers[-1].start()
    create = [
        *(program("redis-cli", "valkey-cli"), "--cluster", "create"),
        *(f"{HOST}:{server.port}" for server in servers),
        *("--cluster-replicas", str(replicas), "--cluster-yes"),
    ]
    subprocess.run(create, check=True, capture_output=True)
    wait_until(lambda: all(map(_is_whole, servers)))
    return servers


def url_of_sentinel(sentinel: Server) -> str:
    return f"redis+sentinel://{HOST}:{sentinel.port}/{MASTER}"


def url_of_cluster(servers: list[Server]) -> str:
    return "redis+cluster://" + ",".join(f"{HOST}:{server.port}" for server in servers)


@contextmanager
def _sentinel(directory: Path) -> Iterator[Deployment]:
    with ExitStack() as stack:
        first, second, sentinel = watched(stack, directory, *DURABLE)

        def leader() -> Server:
            address = sentinel.ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER)
            return second if str(second.port) in str(address) else first

        settings = {"CACHE_URL": url_of_sentinel(sentinel)}
        yield Deployment(
            "redis-sentinel", settings, nodes=[first, second], leader=leader, losses=LOSSES
        )


@contextmanager
def _cluster(directory: Path) -> Iterator[Deployment]:
    with ExitStack() as stack:
        soon = ("--cluster-node-timeout", NODE_MILLISECONDS)
        servers = cluster(stack, directory, *DURABLE, *soon, replicas=1)

        def leader() -> Server:
            return next(filter(_has_the_keys, servers), servers[0])

        settings = {
            "CACHE_URL": url_of_cluster(servers),
            "CACHE_KEY_PREFIX": "{torture}:",  # All keys in one slot, for batches.
        }
        yield Deployment("redis-cluster", settings, nodes=[*servers], leader=leader, losses=LOSSES)


def _is_confirmed(master: Server) -> bool:
    """Whether a replica confirms a write, which may take a second after it has all."""
    import redis

    with redis.Redis(host=HOST, port=master.port) as client:
        client.set("warm-up", 1)
        client.delete("warm-up")
        return bool(client.wait(1, 100))


def _is_whole(server: Server) -> bool:
    return "ok" in str(server.ask("CLUSTER INFO")).partition("cluster_state")[2][:8]


def _has_the_keys(server: Server) -> bool:
    """Whether it leads the slot of the keys: it is a master, and has some."""
    return "master" in str(server.ask("ROLE")) and bool(server.ask("DBSIZE"))


REDIS: dict[str, Start] = {
    "redis": _one,
    "redis-sentinel": _sentinel,
    "redis-cluster": _cluster,
}
