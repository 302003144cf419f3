"""The service: values and counters over HTTP, shared by all requests of all workers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import Flask

import routes
from common import cache
from service.lean import LeanFlask

# A value of CACHE_MAX_VALUE_BYTES may need a little more as the member of a JSON body.
BODY_ROOM = 64 << 10
DEFAULTS = {
    "CACHE_CODEC": "json",
    "CACHE_MAX_VALUE_BYTES": 1 << 20,
    "WORKERS": 1,
}


def create_app(config: Mapping[str, Any] | None = None) -> Flask:
    """The application, with its settings from ``FLASK_…`` environment variables and ``config``.

    :param config: settings that go before those of the environment.
    """
    app = LeanFlask(__name__)
    app.config.from_mapping(DEFAULTS)
    app.config.from_prefixed_env()
    app.config.from_mapping(config)
    if app.config["MAX_CONTENT_LENGTH"] is None:
        app.config["MAX_CONTENT_LENGTH"] = app.config["CACHE_MAX_VALUE_BYTES"] + BODY_ROOM
    cache.init_app(app)
    routes.init_app(app)
    return app


if __name__ == "__main__":
    from service import serve

    serve.main()
