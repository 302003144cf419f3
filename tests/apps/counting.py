"""Counts on our cache, and uses it before a server that preloads has forked its workers."""

from __future__ import annotations

import os

from flask import Flask

from sharedstate import Cache

cache = Cache()


def create_app() -> Flask:
    app = Flask(__name__)
    app.config.from_prefixed_env()
    cache.init_app(app)
    with app.app_context():
        cache.inc("starts")
        cache.get("starts")

    @app.post("/hits")
    def hit() -> dict[str, object]:
        return {"value": cache.inc("hits"), "process": os.getpid()}

    @app.get("/counts")
    def counts() -> dict[str, object]:
        return {key: cache.get(key) for key in ("hits", "starts")}

    return app
