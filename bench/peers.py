"""What people use instead of our stores, each as its documentation shows it."""

from __future__ import annotations

import sqlite3
from typing import Any

from .base import Contestant

# Nobody gives up: a starved process shows in the slowest operation.
PATIENCE_SECONDS = 60.0


class Cachelib(Contestant):
    """Flask-Caching's files: its increment is get, then set."""

    name = "cachelib"
    is_exact = False

    def open(self) -> None:
        from cachelib import FileSystemCache

        self.cache: Any = FileSystemCache(str(self.directory), threshold=0, default_timeout=0)

    def inc(self, key: str) -> int:
        return self.cache.inc(key)

    def get(self, key: str) -> str:
        return self.cache.get(key)

    def set(self, key: str, value: str) -> None:
        self.cache.set(key, value)


class CachelibUnderLock(Cachelib):
    name = "cachelib-filelock"
    needs = ("filelock",)
    is_exact = True

    def open(self) -> None:
        from filelock import FileLock

        super().open()
        self.lock = FileLock(self.directory.with_suffix(".lock"), timeout=PATIENCE_SECONDS)

    def inc(self, key: str) -> int:
        with self.lock:
            return super().inc(key)


class Diskcache(Contestant):
    name = "diskcache"
    needs = ("diskcache",)

    def open(self) -> None:
        from diskcache import Cache as DiskCache

        self.cache = DiskCache(str(self.directory), timeout=PATIENCE_SECONDS)

    def inc(self, key: str) -> int:
        return self.cache.incr(key)

    def get(self, key: str) -> str:
        return self.cache.get(key)

    def set(self, key: str, value: str) -> None:
        self.cache.set(key, value)


class RedisPy(Contestant):
    name = "redis-py"
    needs = ("redis",)
    needs_redis = True

    def open(self) -> None:
        import redis

        self.client: Any = redis.Redis.from_url(self.place.redis_url or "")

    def inc(self, key: str) -> int:
        return self.client.incr(key)

    def get(self, key: str) -> str:
        return self.client.get(key).decode()

    def set(self, key: str, value: str) -> None:
        self.client.set(key, value)


class SQLite(Contestant):
    """A table in WAL mode; writers wait as SQLite has it."""

    name = "sqlite3"

    def open(self) -> None:
        self.execute = sqlite3.connect(
            self.directory / "bench.db", timeout=PATIENCE_SECONDS, isolation_level=None
        ).execute
        self.execute("PRAGMA journal_mode = WAL").fetchall()
        self.execute("PRAGMA synchronous = NORMAL")
        self.execute("CREATE TABLE IF NOT EXISTS entries (key TEXT PRIMARY KEY, value)")

    def inc(self, key: str) -> int:
        rows = self.execute(
            "INSERT INTO entries VALUES (?, 1) "
            "ON CONFLICT (key) DO UPDATE SET value = value + 1 RETURNING value",
            (key,),
        ).fetchall()
        return rows[0][0]

    def get(self, key: str) -> str:
        return self.execute("SELECT value FROM entries WHERE key = ?", (key,)).fetchall()[0][0]

    def set(self, key: str, value: str) -> None:
        self.execute(
            "INSERT INTO entries VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = ?",
            (key, value, value),
        )


class PlainLMDB(Contestant):
    """A transaction an increment, without fsync."""

    name = "py-lmdb"
    needs = ("lmdb",)

    def open(self) -> None:
        import lmdb

        self.env: Any = lmdb.open(str(self.directory), map_size=1 << 30, sync=False)

    def inc(self, key: str) -> int:
        raw_key = key.encode()
        with self.env.begin(write=True) as txn:
            number = int(txn.get(raw_key, b"0")) + 1
            txn.put(raw_key, b"%d" % number)
        return number

    def get(self, key: str) -> str:
        with self.env.begin() as txn:
            return txn.get(key.encode()).decode()

    def set(self, key: str, value: str) -> None:
        with self.env.begin(write=True) as txn:
            txn.put(key.encode(), value.encode())
