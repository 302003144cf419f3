"""What of Flask-Caching's settings means the same, and is written in another place there."""

from __future__ import annotations

from typing import Any

from .setting import Settings
from .table import table

_CACHELIB_OPTIONS = ("default_timeout", "ignore_delete_many_errors", "key_prefix", "threshold")
"""Those of ``CACHE_OPTIONS`` that are not for a driver."""


def own_settings(given: Settings) -> dict[str, Any]:
    """What our stores make of the settings before Flask-Caching puts its defaults there."""
    default = {setting.name: setting.default for setting in table()}
    options = given.get("CACHE_OPTIONS") or {}
    try:
        options = dict(options)
    except (TypeError, ValueError):
        return {"CACHE_OPTIONS": options}  # Which is refused.
    of_cachelib = {name: options.pop(name) for name in _CACHELIB_OPTIONS if name in options}
    prefix = of_cachelib.get("key_prefix") or default["CACHE_KEY_PREFIX"]
    return {
        "CACHE_TYPE": given.get("CACHE_TYPE") or default["CACHE_TYPE"],
        "CACHE_DEFAULT_TIMEOUT": of_cachelib.get(
            "default_timeout", given.get("CACHE_DEFAULT_TIMEOUT")
        ),
        "CACHE_KEY_PREFIX": given.get("CACHE_KEY_PREFIX", prefix),
        "CACHE_THRESHOLD": of_cachelib.get("threshold", given.get("CACHE_THRESHOLD")),
        "CACHE_OPTIONS": options,
    }
