"""A pytest plugin: Flask-Caching's own tests see :class:`sharedstate.Cache` in its place."""

from __future__ import annotations

import cachelib.simple
import flask_caching

import sharedstate
from sharedstate.stores.base import Store


class _Clock:
    """The clock that Flask-Caching's tests put in the place of cachelib's."""

    def __get__(self, store: Store, owner: type[Store]) -> object:
        return lambda: cachelib.simple.time()

    def __set__(self, store: Store, clock: object) -> None:
        pass


Store.clock = _Clock()
flask_caching.Cache = sharedstate.Cache
