"""A pytest plugin: Flask-Caching's own tests see :class:`sharedstate.Cache` in its place."""

from __future__ import annotations

import cachelib.simple
import flask_caching

import sharedstate
from sharedstate.stores import base

# Where Flask-Caching's tests put a clock of theirs.
base.now = lambda: cachelib.simple.time()
flask_caching.Cache = sharedstate.Cache
