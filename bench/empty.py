"""A Flask application that does nothing: the measure for what ours costs."""

from flask import Flask


def create_app() -> Flask:
    app = Flask(__name__)

    @app.post("/empty")
    def empty() -> str:
        return ""

    return app
