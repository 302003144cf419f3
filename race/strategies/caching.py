"""Flask-Caching; `CACHE_TYPE` says where the values lie."""

from __future__ import annotations

from flask import Flask
from flask_caching import Cache


def get_then_set() -> Flask:
    """What is mostly recommended."""
    app = Flask(__name__)
    app.config.from_prefixed_env()
    cache = Cache(app)

    @app.route("/")
    def home():
        hits = (cache.get("hits") or 0) + 1
        cache.set("hits", hits)
        return str(hits)

    return app


def hidden_inc() -> Flask:
    """The increment of the cache behind the cache, which no documentation names."""
    app = Flask(__name__)
    app.config.from_prefixed_env()
    cache = Cache(app)

    @app.route("/")
    def home():
        return str(cache.cache.inc("hits"))

    return app
