"""Reads single settings out of a Flask configuration, with errors that name them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, TypeVar

from .errors import ConfigurationError

Settings = Mapping[str, Any]

N = TypeVar("N", int, float)

GIBIBYTE = 1 << 30
CONTROL = re.compile(r"[\x00-\x1f\x7f]")
MAX_PREFIX_BYTES = 128


# Read by Flask-Caching itself.
FLASK_CACHINGS = (
    *("CACHE_ARGS", "CACHE_ENABLE_SIGNALS", "CACHE_FILE_HASH_METHOD", "CACHE_HASH_METHOD"),
    *("CACHE_IGNORE_ERRORS", "CACHE_MEMCACHED_PASSWORD", "CACHE_MEMCACHED_USERNAME"),
    *("CACHE_NO_NULL_WARNING", "CACHE_SOURCE_CHECK"),
)
# What a misspelt name is compared with.
NAMES = (
    *("CACHE_CODEC", "CACHE_DATABASE_TABLE", "CACHE_DATABASE_URL", "CACHE_DEFAULT_TIMEOUT"),
    *("CACHE_DIR", "CACHE_DURABILITY", "CACHE_KEY_PREFIX", "CACHE_MANAGER_AUTHKEY"),
    *("CACHE_MAX_BYTES", "CACHE_MAX_VALUE_BYTES", "CACHE_MEMCACHED_SERVERS", "CACHE_OPTIONS"),
    *("CACHE_REDIS_CLUSTER", "CACHE_REDIS_DB", "CACHE_REDIS_HOST", "CACHE_REDIS_PASSWORD"),
    *("CACHE_REDIS_PORT", "CACHE_REDIS_SENTINELS", "CACHE_REDIS_SENTINEL_MASTER"),
    *("CACHE_REDIS_SENTINEL_PASSWORD", "CACHE_REDIS_URL", "CACHE_REDIS_USERNAME"),
    *("CACHE_REDIS_WAIT", "CACHE_SERIALIZER", "CACHE_THRESHOLD", "CACHE_TIMEOUT"),
    *("CACHE_TYPE", "CACHE_URL", *FLASK_CACHINGS),
)


def refuse_misspelt(settings: Settings) -> None:
    """Raise :exc:`ConfigurationError` for a name that is nearly, but not, that of a setting.

    It would be ignored, and the default would be used in silence.
    """
    for name in settings:
        if isinstance(name, str) and name.startswith("CACHE_") and name not in NAMES:
            for meant in get_close_matches(name, NAMES, 1, cutoff=0.9):
                raise ConfigurationError(f"there is no setting {name}; did you mean {meant}?")


def seconds(settings: Settings, name: str, default: float) -> float:
    """A positive number of seconds."""
    return _number(settings, name, default, float)


def byte_count(settings: Settings, name: str, default: int) -> int:
    """A positive number of bytes."""
    return _number(settings, name, default, int)


def count(settings: Settings, name: str) -> int:
    """How many of something; none where it is not set."""
    return byte_count(settings, name, 0) if settings.get(name) else 0


def choice(settings: Settings, name: str, options: tuple[str, ...]) -> str:
    """One of ``options``; the first is the default."""
    value = settings.get(name) or options[0]
    if value not in options:
        raise ConfigurationError(f"{name} is {value!r}; it can be {' or '.join(options)}")
    return str(value)


def key_prefix(settings: Settings) -> str:
    """``CACHE_KEY_PREFIX``: text before every key, ``flask_cache_`` where none is set."""
    prefix = settings.get("CACHE_KEY_PREFIX", "flask_cache_")
    if prefix is None:
        return ""
    if isinstance(prefix, str) and not CONTROL.search(prefix):
        try:
            if len(prefix.encode()) <= MAX_PREFIX_BYTES:
                return prefix
        except UnicodeEncodeError:
            pass
    raise ConfigurationError(
        f"CACHE_KEY_PREFIX must be text of at most {MAX_PREFIX_BYTES} bytes without control "
        f"characters, not {prefix!r}"
    )


def _number(settings: Settings, name: str, default: N, kind: type[N]) -> N:
    raw = settings.get(name)
    if raw is None:
        return default
    try:
        number = kind(raw)
    except (TypeError, ValueError, OverflowError):
        number = kind(0)
    if isinstance(raw, bool) or not 0 < number < float("inf"):
        raise ConfigurationError(f"{name} must be a positive number, not {raw!r}")
    return number
