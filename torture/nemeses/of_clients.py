"""What happens to processes of clients."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

from ..servers.deployment import Deployment
from .nemesis import Nemesis, Targets


def _any(deployment: Deployment) -> str:
    return ""


def _shared(deployment: Deployment) -> str:
    return "" if deployment.is_shared else "its state is that of the process"


@contextmanager
def _kill(targets: Targets) -> Iterator[str]:
    process = targets.some_process()
    process.signal(signal.SIGKILL)
    yield f"client {process.number}"


@contextmanager
def _stop(targets: Targets) -> Iterator[str]:
    process = targets.some_process()
    process.stop()
    try:
        yield f"client {process.number}"
    finally:
        process.go_on()


KILL = Nemesis("kill", "kill -9 of a process of clients, in its calls", _shared, _kill, (0.0, 0.3))
STOP = Nemesis("stop", "SIGSTOP of a process of clients, in its calls", _any, _stop)
