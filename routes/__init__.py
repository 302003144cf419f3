"""The routes of the service: one blueprint a module.

To add one: write a module with a blueprint ``bp`` and list it here.
"""

from __future__ import annotations

from flask import Flask

from service.contract import errors
from service.contract.keys import KeyConverter

from . import (
    batch,
    counters,
    demo,
    docs,
    health,
    limits,
    locks,
    metrics,
    pages,
    session,
    store,
    values,
)

_ALL = (values, counters, session, locks, limits, batch, store, health, metrics, docs, pages)


def init_app(app: Flask) -> None:
    """Give the application all routes, and problem documents for all errors."""
    app.url_map.converters["key"] = KeyConverter
    # A key may contain and begin with slashes.
    app.url_map.merge_slashes = False
    errors.init_app(app)
    for module in _ALL:
        app.register_blueprint(module.bp)
    if app.config["DEMO"]:
        app.register_blueprint(demo.bp)
