"""Our stores, and the names of all contestants of `bench.stores`."""

from __future__ import annotations

from typing import Any, Self

from flask import Flask

from sharedstate import Cache

from .base import Contestant
from .peers import Cachelib, CachelibUnderLock, Diskcache, PlainLMDB, RedisPy, SQLite


class Ours(Contestant):
    """The public `Cache`, inside an application context."""

    is_ours = True

    def settings(self) -> dict[str, Any]:
        return {"CACHE_TYPE": self.name, "CACHE_DIR": self.directory}

    def open(self) -> None:
        self.app = Flask(__name__)
        self.cache = Cache(self.app, config=self.settings())

    def __enter__(self) -> Self:
        self.context = self.app.app_context()
        self.context.push()
        return self

    def __exit__(self, *error: object) -> None:
        self.context.pop()

    def inc(self, key: str) -> int:
        return self.cache.inc(key)

    def get(self, key: str) -> str:
        return self.cache.get(key)

    def set(self, key: str, value: str) -> None:
        self.cache.set(key, value)


class Simple(Ours):
    name = "simple"
    is_shared = False


class Filesystem(Ours):
    name = "filesystem"


class LMDB(Ours):
    name = "lmdb"
    needs = ("lmdb",)


class Redis(Ours):
    name = "redis"
    needs = ("redis",)
    needs_redis = True

    def settings(self) -> dict[str, Any]:
        return {"CACHE_TYPE": self.name, "CACHE_REDIS_URL": self.place.redis_url}


CONTESTANTS: dict[str, type[Contestant]] = {
    contestant.name: contestant
    for contestant in (
        Simple,
        Filesystem,
        LMDB,
        Redis,
        Cachelib,
        CachelibUnderLock,
        Diskcache,
        RedisPy,
        SQLite,
        PlainLMDB,
    )
}
