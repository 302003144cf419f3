"""State of one request, or of one client."""

from __future__ import annotations

import os

from flask import Flask, g, session


def request_global() -> Flask:
    """`g`: global to the functions that work on one request."""
    app = Flask(__name__)

    @app.route("/")
    def home():
        g.hits = g.get("hits", 0) + 1
        return str(g.hits)

    return app


def cookie_session() -> Flask:
    """Flask's own session: the state goes to the client and back, signed."""
    app = Flask(__name__)
    app.secret_key = "race"

    @app.route("/")
    def home():
        session["hits"] = session.get("hits", 0) + 1
        return str(session["hits"])

    return app


def flask_session_files() -> Flask:
    """Flask-Session on files: the client has an identifier, the server the state."""
    return _server_side(SESSION_TYPE="filesystem", SESSION_FILE_DIR=os.environ["STATE_DIRECTORY"])


def flask_session_redis() -> Flask:
    from redis import Redis

    return _server_side(SESSION_TYPE="redis", SESSION_REDIS=Redis.from_url(os.environ["REDIS_URL"]))


def _server_side(**config) -> Flask:
    from flask_session import Session

    app = Flask(__name__)
    app.config.from_mapping(config)
    Session(app)

    @app.route("/")
    def home():
        session["hits"] = session.get("hits", 0) + 1
        return str(session["hits"])

    return app
