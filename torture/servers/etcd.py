"""A cluster of three members of etcd."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

from race.servers.processes import HOST, reserved_port

from .deployment import Deployment, Start
from .node import Node, program, wait_until
from .proxy import Proxy

MEMBERS = 3
# A leader that is gone is replaced within half a second, and not within two.
ELECTION = ("--heartbeat-interval", "50", "--election-timeout", "500")


class Member(Node):
    """A member: clients reach it through one proxy, the other members through another one."""

    def __init__(self, stack: ExitStack, directory: Path, name: str) -> None:
        self.port, peer_port = (stack.enter_context(reserved_port()) for _ in range(2))
        self.proxy, self.peer_proxy = (
            stack.enter_context(closing(Proxy(port))) for port in (self.port, peer_port)
        )
        url, listens = f"http://{HOST}:{self.port}", f"http://{HOST}:{peer_port}"
        peer = f"http://{HOST}:{self.peer_proxy.port}"
        self.part = f"{name}={peer}"
        self.options: list[str] = [
            program("etcd"),
            *("--name", name, "--data-dir", str(directory / name)),
            *("--listen-client-urls", url, "--advertise-client-urls", url),
            *("--listen-peer-urls", listens, "--initial-advertise-peer-urls", peer),
            *("--logger", "zap", "--log-level", "error", *ELECTION),
        ]
        super().__init__(name, self.options, directory / f"{name}.log", self._is_ready)
        stack.enter_context(closing(self))

    def ask(self, path: str, message: dict[str, Any]) -> dict[str, Any]:
        """What it replies; nothing if it does not."""
        request = urllib.request.Request(
            f"http://{HOST}:{self.port}/v3/{path}", json.dumps(message).encode(), method="POST"
        )
        try:
            with urllib.request.urlopen(request, timeout=1) as response:
                return dict(json.load(response))
        except OSError:
            return {}

    def leads(self) -> bool:
        status = self.ask("maintenance/status", {})
        return bool(status) and status.get("leader") == status["header"]["member_id"]

    def _is_ready(self) -> bool:
        return bool(self.ask("kv/range", {"key": "YQ=="}))


@contextmanager
def _etcd(directory: Path) -> Iterator[Deployment]:
    with ExitStack() as stack:
        members = [Member(stack, directory, f"m{number}") for number in range(MEMBERS)]
        whole = ",".join(member.part for member in members)
        for member in members:
            member.options += ["--initial-cluster", whole]
            member.launch()
        for member in members:
            member.wait()
        proxies = [proxy for member in members for proxy in (member.proxy, member.peer_proxy)]

        def leader() -> Node:
            wait_until(lambda: any(member.leads() for member in members))
            return next(filter(Member.leads, members), members[0])

        settings = {
            "CACHE_URL": "etcd://" + ",".join(f"{HOST}:{member.proxy.port}" for member in members),
            "CACHE_TIMEOUT": 3.0,  # Most calls can wait for a new leader.
        }
        yield Deployment("etcd", settings, nodes=[*members], proxies=proxies, leader=leader)


ETCD: dict[str, Start] = {"etcd": _etcd}
