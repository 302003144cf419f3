"""What happens between clients and servers, by the proxy between them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from ..servers.site import Site
from ..servers.wire import HALF, HOLD, PASS, SLOW
from .nemesis import Field, Nemesis

DELAY = 0.05


def _has_wires(site: Site) -> str:
    return "" if site.wires else "no proxy can stand before it"


def _behaving(mode: str) -> Callable[[Field], AbstractContextManager[str]]:
    @contextmanager
    def fault(field: Field) -> Iterator[str]:
        wire = field.dice.choice(field.site.wires)
        wire.behave(mode, DELAY)
        try:
            yield f"the way to server {field.site.wires.index(wire)}"
        finally:
            wire.behave(PASS)

    return fault


PARTITION = Nemesis(
    "partition", "nothing gets through, and what was sent arrives later",
    _has_wires, _behaving(HOLD),
)  # fmt: skip
SLOWNESS = Nemesis("slow", "all gets through late", _has_wires, _behaving(SLOW))
HALVES = Nemesis(
    "half", "connections are cut in the middle of a response",
    _has_wires, _behaving(HALF), (0.1, 0.5),
)  # fmt: skip
