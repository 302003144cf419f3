"""Tickets with a number each, and seats that are reserved for ten minutes.

`test_tickets.py` tests it, with the fixtures that sharedstate brings for pytest.
"""

from typing import Any

from flask import Flask, abort

from sharedstate import Cache, OutOfBounds

cache = Cache()


def create_app(config: dict[str, Any] | None = None) -> Flask:
    app = Flask(__name__)
    app.config.from_prefixed_env()
    app.config.update(config or {})
    cache.init_app(app)

    @app.post("/tickets")
    def buy() -> dict[str, int]:
        try:
            return {"number": cache.inc("tickets", maximum=50)}
        except OutOfBounds:
            abort(410, "sold out")

    @app.post("/seats/<seat>")
    def reserve(seat: str) -> str:
        if not cache.add(f"seat {seat}", True, timeout=600):
            abort(409, "somebody has reserved it")
        return "yours for ten minutes"

    return app
