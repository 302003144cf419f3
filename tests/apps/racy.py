"""The usual way to count with Flask-Caching, get then set: the negative control of the races."""

from __future__ import annotations

from flask import Flask
from flask_caching import Cache


def create_app() -> Flask:
    app = Flask(__name__)
    app.config.from_prefixed_env()
    cache = Cache(app)

    @app.get("/v1/counters/<key>")
    def read(key: str) -> dict[str, object]:
        return {"key": key, "value": cache.get(key) or 0}

    @app.post("/v1/counters/<key>")
    def increment(key: str) -> dict[str, object]:
        value = (cache.get(key) or 0) + 1
        cache.set(key, value)
        return {"key": key, "value": value}

    return app
