"""What happens to the clocks of clients."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ..clients.clocks import NUMBER
from ..servers.deployment import Deployment
from .nemesis import Nemesis, Targets

JUMPS = (-3600, -10, 10, 3600)
"""Seconds. A day would end ``once`` tokens, as is documented."""


def _nothing(deployment: Deployment) -> str:
    return ""


@contextmanager
def _jump(targets: Targets) -> Iterator[str]:
    number, seconds = targets.rng.randrange(NUMBER), targets.rng.choice(JUMPS)
    targets.clocks.jump(number, seconds)
    try:
        yield f"every other client: {seconds:+d} s"
    finally:
        targets.clocks.jump(number, 0)


CLOCK = Nemesis("clock", "the clock of some clients jumps, and jumps back", _nothing, _jump)
