"""This project, as its quickstart shows it; `CACHE_TYPE` or `CACHE_URL` says where the state is."""

from __future__ import annotations

import uuid

from flask import Flask, session

from sharedstate import Cache
from sharedstate.session import Session

from .memory import SomeObj


def inc() -> Flask:
    app = Flask(__name__)
    app.config.from_prefixed_env()
    cache = Cache(app)

    @app.route("/")
    def home():
        return str(cache.inc("hits"))

    return app


def shared_object() -> Flask:
    """The question's application, with the one line changed that makes its object."""
    app = Flask(__name__)
    app.config.from_prefixed_env()
    cache = Cache(app)
    global_obj = cache.object("global_obj", SomeObj, 0)

    @app.route("/")
    def home():
        return str(global_obj.query())

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


def flask_session() -> Flask:
    """`flask.session`, as applications write it."""
    app = Flask(__name__)
    app.config.from_prefixed_env()
    Session(app)

    @app.route("/")
    def home():
        session["hits"] = session.get("hits", 0) + 1
        return str(session["hits"])

    return app
