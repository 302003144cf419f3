"""What happens to servers."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

from ..servers.deployment import Deployment
from ..servers.node import wait_until
from .nemesis import Nemesis, Targets


def _has_servers(deployment: Deployment) -> str:
    return "" if deployment.nodes else "it has no server"


def _can_fail_over(deployment: Deployment) -> str:
    return "" if deployment.leader else "it has no second server"


@contextmanager
def _kill(targets: Targets) -> Iterator[str]:
    node = targets.rng.choice(targets.deployment.nodes)
    node.kill()
    try:
        yield node.name
    finally:
        node.start()


@contextmanager
def _stop(targets: Targets) -> Iterator[str]:
    node = targets.rng.choice(targets.deployment.nodes)
    node.signal(signal.SIGSTOP)
    try:
        yield node.name
    finally:
        node.signal(signal.SIGCONT)


@contextmanager
def _fail_over(targets: Targets) -> Iterator[str]:
    """The old one comes back when another one leads."""
    leader = targets.deployment.leader
    assert leader is not None
    node = leader()
    node.kill()
    try:
        yield node.name
        wait_until(lambda: leader() is not node)
    finally:
        node.start()


KILL = Nemesis(
    "server-kill", "kill -9 of a server, and its restart", _has_servers, _kill, (0.0, 1.0)
)
STOP = Nemesis("server-stop", "SIGSTOP of a server", _has_servers, _stop)
FAIL_OVER = Nemesis(
    "failover", "the server that leads is killed, and another one takes over",
    _can_fail_over, _fail_over, (2.0, 3.0),
)  # fmt: skip
