"""The service: values and counters over HTTP, shared by all requests of all workers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import Flask
from werkzeug.middleware.proxy_fix import ProxyFix

import routes
from common import cache
from service import access, logs, metrics, settings
from service.tracing import TracedFlask

# A value of CACHE_MAX_VALUE_BYTES may need a little more as the member of a JSON body.
BODY_ROOM = 64 << 10
DEFAULTS = {
    "ACCESS_LOG": False,
    "API_READ_TOKEN": None,
    "API_TOKEN": None,
    "BODY_TIMEOUT": 30,
    "CACHE_CODEC": "json",
    "CACHE_MAX_VALUE_BYTES": 1 << 20,
    "DEMO": True,
    "HEADER_TIMEOUT": 10,
    "INSECURE": False,
    "LOG_FORMAT": None,
    "MAX_BATCH_OPERATIONS": 1000,
    "MAX_JSON_DEPTH": 64,
    "MAX_RESPONSE_BYTES": None,
    "METRICS_DIR": None,
    "PROXIES": 0,
    "SESSION_COOKIE_NAME": "sharedstate_session",
    "WORKERS": 1,
}


def create_app(config: Mapping[str, Any] | None = None) -> Flask:
    """The application, with its settings from ``FLASK_…`` environment variables and ``config``.

    :param config: settings that go before those of the environment.
    :raises ConfigurationError: if a setting is wrong; it says which, and what it can be.
    """
    # By this name also where it runs as __main__: the instance folder depends on it.
    app = TracedFlask("app")
    app.config.from_mapping(DEFAULTS)
    settings.read_environment(app.config)
    app.config.from_mapping(config)
    settings.check(app.config)
    if app.config["MAX_CONTENT_LENGTH"] is None:
        app.config["MAX_CONTENT_LENGTH"] = app.config["CACHE_MAX_VALUE_BYTES"] + BODY_ROOM
    if app.config["MAX_RESPONSE_BYTES"] is None:
        app.config["MAX_RESPONSE_BYTES"] = 4 * app.config["CACHE_MAX_VALUE_BYTES"]
    if proxies := app.config["PROXIES"]:
        # No proxy's port: what a browser takes for the site has none where it is the usual one.
        app.wsgi_app = ProxyFix(app.wsgi_app, proxies, proxies, proxies)  # type: ignore[method-assign]
    cache.init_app(app)
    logs.init_app(app)
    metrics.init_app(app)
    access.init_app(app)
    routes.init_app(app)
    return app


if __name__ == "__main__":
    from service.server.serve import main

    main(create_app)
