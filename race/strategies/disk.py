"""diskcache: a cache in an SQLite file, with an increment of its own."""

from __future__ import annotations

import os

from diskcache import Cache
from flask import Flask


def incr() -> Flask:
    app = Flask(__name__)
    cache = Cache(os.environ["STATE_DIRECTORY"])

    @app.route("/")
    def home():
        return str(cache.incr("hits"))

    return app
