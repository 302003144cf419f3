"""What happens to processes of clients."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

from ..servers.site import Site
from .nemesis import Field, Nemesis


def _any(site: Site) -> str:
    return ""


def _shared(site: Site) -> str:
    return "" if site.is_shared else "its state is that of the process"


@contextmanager
def _kill(field: Field) -> Iterator[str]:
    process = field.some_process()
    process.signal(signal.SIGKILL)
    yield f"client {process.number}"


@contextmanager
def _stop(field: Field) -> Iterator[str]:
    process = field.some_process()
    process.stop()
    try:
        yield f"client {process.number}"
    finally:
        process.go_on()


KILL = Nemesis("kill", "kill -9 of a process of clients, in its calls", _shared, _kill, (0.0, 0.3))
STOP = Nemesis("stop", "SIGSTOP of a process of clients, in its calls", _any, _stop)
