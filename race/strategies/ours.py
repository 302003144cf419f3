"""This project, as its quickstart shows it; `CACHE_TYPE` or `CACHE_URL` says where the state is."""

from __future__ import annotations

import uuid

from flask import Flask, session

from sharedstate import Cache


def inc() -> Flask:
    app = Flask(__name__)
    app.config.from_prefixed_env()
    cache = Cache(app)

    @app.route("/")
    def home():
        return str(cache.inc("hits"))

    return app


def inc_by_session() -> Flask:
    """A counter for each client: Flask's session holds its name, the store its number."""
    app = Flask(__name__)
    app.secret_key = "race"
    app.config.from_prefixed_env()
    cache = Cache(app)

    @app.route("/")
    def home():
        visitor = session.setdefault("id", uuid.uuid4().hex)
        return str(cache.inc(f"hits:{visitor}"))

    return app
