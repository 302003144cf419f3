"""Applications whose views are cached."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from sharedstate import Cache


@pytest.fixture
def app(tmp_path: Path) -> Flask:
    return Flask(__name__, instance_path=str(tmp_path))


@pytest.fixture
def of_each_store(app: Flask, cache_settings: dict[str, str], backend) -> Iterator[Cache]:
    """The application's cache, on each store, inside the application's context."""
    app.config.update(cache_settings, CACHE_KEY_PREFIX=backend.prefix)
    cache = Cache(app)
    with app.app_context():
        yield cache
        cache.state.close()


def numbered_view(app: Flask, cache: Cache, **options: Any) -> Callable[[str], str]:
    """A view whose answer tells how often it was called; returns what gets a URL of it."""
    numbers = count(1)

    @app.get("/works")
    @cache.cached(**options)
    def works() -> str:
        return str(next(numbers))

    return lambda url="/works": app.test_client().get(url).text
