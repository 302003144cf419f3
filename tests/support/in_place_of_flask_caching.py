"""A pytest plugin: Flask-Caching's own tests see :class:`sharedstate.Cache` in its place."""

from __future__ import annotations

import time

import cachelib.simple
import flask_caching

import sharedstate
from sharedstate import settings
from sharedstate.stores import base

# They sleep 3 seconds for what ends after 1, on a server.
_sleep = time.sleep
time.sleep = lambda seconds: _sleep(min(seconds, 1.1))
# Where Flask-Caching's tests put a clock of theirs.
base.now = lambda: cachelib.simple.time()
flask_caching.Cache = sharedstate.Cache
# What a busy machine does to the waiting time is not what they are about.
for setting in settings.table():
    if setting.name == "CACHE_TIMEOUT":
        object.__setattr__(setting, "default", 30.0)
