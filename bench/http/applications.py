"""What people deploy, as applications of stock Flask: an increment, each as its library shows it.

They are settled by environment variables, as the service is.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from flask import Flask

PATIENCE_SECONDS = 60.0


def empty() -> Flask:
    """A view that does nothing: the measure for what Flask costs."""
    app = Flask(__name__)

    @app.post("/empty")
    def view() -> str:
        return ""

    return app


def cache() -> Flask:
    """Our `Cache`, on the store that ``FLASK_CACHE_TYPE`` names."""
    from sharedstate import Cache

    app = Flask(__name__)
    app.config.from_prefixed_env()
    ours = Cache(app)
    return _counting(app, ours.inc, ours.get)


def redis_py() -> Flask:
    """redis-py's `INCR`, with its default pool."""
    import redis

    client: Any = redis.Redis.from_url(os.environ["BENCH_REDIS_URL"])
    return _counting(Flask(__name__), client.incr, client.get)


def diskcache() -> Flask:
    from diskcache import Cache as DiskCache

    cache = DiskCache(os.environ["BENCH_DIRECTORY"], timeout=PATIENCE_SECONDS)
    return _counting(Flask(__name__), cache.incr, cache.get)


def _counting(app: Flask, inc: Callable[[str], int], get: Callable[[str], Any]) -> Flask:
    @app.post("/v1/counters/<key>")
    def increment(key: str) -> dict[str, object]:
        return {"key": key, "value": inc(key)}

    @app.get("/v1/counters/<key>")
    def read(key: str) -> dict[str, object]:
        return {"key": key, "value": int(get(key) or 0)}

    return app
