"""What a contestant of `bench.stores` has to do."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar, Self


@dataclass(frozen=True)
class Place:
    """Where the contestants keep their state: directories, and a Redis server if there is one."""

    directory: Path
    redis_url: str | None


class Contestant(ABC):
    """One way to share numbers and texts by key, opened in one process."""

    name: ClassVar[str]
    needs: ClassVar[tuple[str, ...]] = ()
    """The packages that have to be installed."""
    needs_redis: ClassVar[bool] = False
    is_ours: ClassVar[bool] = False
    is_exact: ClassVar[bool] = True
    """Whether it means to hand out no number twice."""
    is_shared: ClassVar[bool] = True
    """Whether several processes share it."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.directory = place.directory / self.name
        self.directory.mkdir(mode=0o700, exist_ok=True)
        self.open()

    @classmethod
    def missing(cls, place: Place) -> str | None:
        """What has to be installed before it can run."""
        if cls.needs_redis and place.redis_url is None:
            return "redis-server"
        return next((package for package in cls.needs if find_spec(package) is None), None)

    def __enter__(self) -> Self:
        """Itself, ready for operations."""
        return self

    def __exit__(self, *error: object) -> None:  # noqa: B027  # a hook, for one that needs it
        """What it entered for its operations ends."""

    @abstractmethod
    def open(self) -> None: ...

    @abstractmethod
    def inc(self, key: str) -> int: ...

    @abstractmethod
    def get(self, key: str) -> str: ...

    @abstractmethod
    def set(self, key: str, value: str) -> None: ...
