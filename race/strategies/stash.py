"""gunicorn's own shared state, since 25.1: tables in the memory of a process beside its workers."""

from __future__ import annotations

from flask import Flask
from gunicorn.dirty import DirtyApp, stash


class Nothing(DirtyApp):  # type: ignore[misc]  # gunicorn ships no types
    """The application that has to be there for the tables to be."""


def get_then_put() -> Flask:
    """There is no increment, compare-and-set or lock to do it otherwise."""
    app = Flask(__name__)

    @app.route("/")
    def home():
        # Up to 27.0 `get` raises where the key is missing, whatever its default.
        hits = stash.get("race", "hits") if stash.exists("race", "hits") else 0
        hits += 1
        stash.put("race", "hits", hits)
        return str(hits)

    return app
