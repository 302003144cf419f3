"""The stores without a server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .deployment import Deployment, Start

MAX_BYTES = 16 << 20


def _in_directory(name: str) -> Start:
    @contextmanager
    def start(directory: Path) -> Iterator[Deployment]:
        settings = {"CACHE_TYPE": name, "CACHE_DIR": str(directory), "CACHE_MAX_BYTES": MAX_BYTES}
        yield Deployment(name, settings)

    return start


@contextmanager
def _sqlite(directory: Path) -> Iterator[Deployment]:
    yield Deployment("database-sqlite", {"CACHE_URL": f"sqlite:///{directory}/state.db"})


@contextmanager
def _simple(directory: Path) -> Iterator[Deployment]:
    yield Deployment(
        "simple", {"CACHE_TYPE": "simple", "CACHE_MAX_BYTES": MAX_BYTES}, is_shared=False
    )


EMBEDDED: dict[str, Start] = {
    "simple": _simple,
    "filesystem": _in_directory("filesystem"),
    "lmdb": _in_directory("lmdb"),
    "database-sqlite": _sqlite,
}
