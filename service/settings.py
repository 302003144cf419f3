"""The service's own settings, of which the wrong ones are refused at start."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import timedelta
from difflib import get_close_matches
from typing import Any

from flask import Config

from sharedstate import ConfigurationError

SWITCHES = ("ACCESS_LOG", "DEMO", "INSECURE")
SECONDS = ("BODY_TIMEOUT", "HEADER_TIMEOUT", "PERMANENT_SESSION_LIFETIME")
TOKENS = ("API_TOKEN", "API_READ_TOKEN")

LEAST = {
    "CACHE_MAX_VALUE_BYTES": 1,
    "MAX_BATCH_OPERATIONS": 1,
    "MAX_CONTENT_LENGTH": 1,
    "MAX_JSON_DEPTH": 1,
    "MAX_RESPONSE_BYTES": 1,
    "PROXIES": 0,
    "THREADS": 1,
    "WORKERS": 1,
}
"""The integers, and the least that each may be."""

_TEN_YEARS = 10 * 366 * 86_400


def read_environment(config: Config) -> None:
    """Add the settings of ``FLASK_…`` variables, whose text is JSON where it can be.

    :raises ConfigurationError: if a name is nearly that of a setting, which would keep its default,
        or a token is ``null``, which would mean that there is none.
    """
    known = {*config, *LEAST}
    config.from_prefixed_env()
    for name in {*config} - known:
        for meant in get_close_matches(name, known, 1, cutoff=0.9):
            raise ConfigurationError(f"there is no setting {name}; did you mean {meant}?")
    for name in TOKENS:
        if config[name] is None and f"FLASK_{name}" in os.environ:
            _refuse(name, None, f"text; leave FLASK_{name} unset for none")


def check(config: Mapping[str, Any]) -> None:
    """Refuse what has the wrong kind, or is out of bounds.

    :raises ConfigurationError: names the setting, what it is, and what it can be.
    """
    for name in SWITCHES:
        if config[name] not in (False, True):
            _refuse(name, config[name], "true or false")
    for name, least in LEAST.items():
        value = config.get(name)
        if value is not None and not (type(value) is int and value >= least):
            _refuse(name, value, f"an integer of at least {least}")
    for name in SECONDS:
        value = config[name]
        seconds = value.total_seconds() if isinstance(value, timedelta) else value
        if type(seconds) not in (int, float) or not 0 < seconds <= _TEN_YEARS:
            _refuse(name, value, "a positive number of seconds, at most ten years")


def _refuse(name: str, value: Any, possible: str) -> None:
    raise ConfigurationError(f"{name} is {value!r}; it can be {possible}")
