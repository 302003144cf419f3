"""The service: values and counters over HTTP, shared by all requests of all workers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import Flask
from werkzeug.middleware.proxy_fix import ProxyFix

import routes
from common import cache
from service import access, logs, metrics, sessions, settings, tracing


def create_app(config: Mapping[str, Any] | None = None) -> Flask:
    """The application, with its settings from ``FLASK_…`` environment variables and ``config``.

    :param config: settings that go before those of the environment.
    :raises ConfigurationError: if a setting is wrong; it says which, and what it can be.
    """
    # By this name also where it runs as __main__: the instance folder depends on it.
    app = Flask("app")
    settings.init_app(app, config)
    tracing.init_app(app)
    if proxies := app.config["PROXIES"]:
        # No proxy's port: what a browser takes for the site has none where it is the usual one.
        app.wsgi_app = ProxyFix(app.wsgi_app, proxies, proxies, proxies)  # type: ignore[method-assign]
    cache.init_app(app)
    logs.init_app(app)
    metrics.init_app(app)
    access.init_app(app)
    sessions.init_app(app)
    routes.init_app(app)
    return app


if __name__ == "__main__":
    from service.server.serve import main

    main(create_app)
