"""A Redis server of the benchmark's own, which keeps nothing on disk."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from race.servers.programs import missing_program, program


@contextmanager
def redis_server(directory: Path) -> Iterator[str | None]:
    """Its URL on a free port, or None where no server is installed."""
    if missing_program("redis"):
        yield None
        return
    with program("redis", directory) as url:
        yield url
