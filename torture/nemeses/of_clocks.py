"""What happens to the clocks of clients."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ..clients.clocks import NUMBER
from ..servers.deployment import Deployment
from .nemesis import Field, Nemesis

JUMPS = (-3600, -10, 10, 3600)
"""Seconds. A day would end ``once`` tokens, as is documented."""


def _nothing(deployment: Deployment) -> str:
    return ""


@contextmanager
def _jump(field: Field) -> Iterator[str]:
    number, seconds = field.dice.randrange(NUMBER), field.dice.choice(JUMPS)
    field.clocks.jump(number, seconds)
    try:
        yield f"every other client: {seconds:+d} s"
    finally:
        field.clocks.jump(number, 0)


CLOCK = Nemesis("clock", "the clock of some clients jumps, and jumps back", _nothing, _jump)
