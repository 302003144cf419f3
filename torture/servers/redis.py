"""Redis: one server, a master that a Sentinel watches, and a cluster."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

from race.servers.processes import HOST, reserved_port

from .node import Node, listens, program, wait_until
from .site import Site, Start
from .wire import Wire

MASTER = "shared"
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
def _one(directory: Path) -> Iterator[Site]:
    """A server that has on its disk what it has acknowledged."""
    with ExitStack() as stack:
        server = Server(stack, directory, "redis", *DURABLE)
        server.start()
        wire = stack.enter_context(closing(Wire(server.port)))
        settings = {"CACHE_URL": f"redis://{HOST}:{wire.port}"}
        yield Site("redis", settings, nodes=[server], wires=[wire])


@contextmanager
def _sentinel(directory: Path) -> Iterator[Site]:
    """A master and a replica, one of which the Sentinel lets lead."""
    with ExitStack() as stack:
        at_once = (*DURABLE, "--repl-diskless-sync-delay", "0")
        first = Server(stack, directory, "first", *at_once)
        first.start()
        second = Server(stack, directory, "second", *at_once, "--replicaof", f"{HOST} {first.port}")
        second.start()
        wait_until(lambda: second.information("REPLICATION").get("master_link_status") == "up")
        configuration = directory / "sentinel.conf"
        configuration.write_text(
            f"sentinel monitor {MASTER} {HOST} {first.port} 1\n"
            f"sentinel down-after-milliseconds {MASTER} {NODE_MILLISECONDS}\n"
            f"sentinel failover-timeout {MASTER} 2000\n"
        )
        sentinel = Server(stack, directory, "sentinel", str(configuration), "--sentinel")
        sentinel.start()
        wait_until(lambda: bool(sentinel.ask("SENTINEL", "REPLICAS", MASTER)))

        def leader() -> Server:
            address = sentinel.ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER)
            return second if str(second.port) in str(address) else first

        settings = {"CACHE_URL": f"redis+sentinel://{HOST}:{sentinel.port}/{MASTER}"}
        yield Site("redis-sentinel", settings, nodes=[first, second], leader=leader, losses=LOSSES)


@contextmanager
def _cluster(directory: Path) -> Iterator[Site]:
    """Three masters that share the slots, each with a replica."""
    with ExitStack() as stack:
        options = ("--cluster-enabled", "yes", "--cluster-node-timeout", NODE_MILLISECONDS)
        servers = []
        for number in range(6):
            bus = ("--cluster-port", str(stack.enter_context(reserved_port())))
            servers.append(Server(stack, directory, f"node {number}", *DURABLE, *options, *bus))
            servers[-1].start()
        addresses = [f"{HOST}:{server.port}" for server in servers]
        create = ["--cluster", "create", *addresses, "--cluster-replicas", "1", "--cluster-yes"]
        client = program("redis-cli", "valkey-cli")
        subprocess.run([client, *create], check=True, capture_output=True)
        wait_until(lambda: all(_is_whole(server) for server in servers))

        def leader() -> Server:
            return next(filter(_has_the_keys, servers), servers[0])

        settings = {
            "CACHE_URL": f"redis+cluster://{','.join(addresses)}",
            "CACHE_KEY_PREFIX": "{torture}:",  # All keys in one slot, for batches.
        }
        yield Site("redis-cluster", settings, nodes=[*servers], leader=leader, losses=LOSSES)


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
