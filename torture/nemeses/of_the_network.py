"""What happens between clients and servers, by the proxy between them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from ..servers.deployment import Deployment
from ..servers.proxy import HALF, HOLD, PASS, SLOW
from .nemesis import Nemesis, Targets

DELAY = 0.05


def _has_proxies(deployment: Deployment) -> str:
    return "" if deployment.proxies else "no proxy can stand before it"


def _behaving(mode: str) -> Callable[[Targets], AbstractContextManager[str]]:
    @contextmanager
    def fault(targets: Targets) -> Iterator[str]:
        proxy = targets.rng.choice(targets.deployment.proxies)
        proxy.behave(mode, DELAY)
        try:
            yield f"the way to server {targets.deployment.proxies.index(proxy)}"
        finally:
            proxy.behave(PASS)

    return fault


PARTITION = Nemesis(
    "partition", "nothing gets through, and what was sent arrives later",
    _has_proxies, _behaving(HOLD),
)  # fmt: skip
SLOWNESS = Nemesis("slow", "all gets through late", _has_proxies, _behaving(SLOW))
HALVES = Nemesis(
    "half", "connections are cut in the middle of a response",
    _has_proxies, _behaving(HALF), (0.1, 0.5),
)  # fmt: skip
