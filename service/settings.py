"""The service's own settings, of which the wrong ones are refused at start.

The table has those of Flask's too that the service reads, and those of the library's that have
another default here.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from flask import Config, Flask

from sharedstate.settings import Setting, changed, check, refuse_misspelt
from sharedstate.settings import table as table_of_library
from sharedstate.settings.kinds import (
    Kind,
    choice,
    duration,
    flag,
    integer,
    path,
    size,
    text,
    texts,
)

TOKENS = ("API_TOKEN", "API_READ_TOKEN")

# A value of CACHE_MAX_VALUE_BYTES may need a little more as the member of a JSON body.
BODY_ROOM = 64 << 10

_MONTH = 31 * 86_400
_ALL = "the service"
_OURS = "`python app.py`"
# service.access says more about a wrong one.
# Empty text is a wrong token, not none.
_TOKEN = Kind("text", "text of printable ASCII characters", lambda token: token)

_TABLE = (
    Setting("API_TOKEN", _TOKEN, None, "The token for everything.", _ALL, secret=True),
    Setting("API_READ_TOKEN", _TOKEN, None, "The token for reading.", _ALL, secret=True),
    Setting(
        "INSECURE",
        flag(),
        False,
        "Serve other machines without a token, as `--insecure` does.",
        _ALL,
        default_text="off",
    ),
    Setting(
        "TRUSTED_HOSTS",
        texts(),
        None,
        "Other names of this machine, a list, when there is no token.",
        _ALL,
    ),
    Setting(
        "PROXIES",
        integer(0),
        0,
        "How many reverse proxies stand before it, whose `X-Forwarded-…` headers are believed; "
        "needs a token.",
        _ALL,
    ),
    Setting(
        "MAX_CONTENT_LENGTH",
        size(),
        None,
        "How many bytes a body may have: 413.",
        _ALL,
        default_text="`CACHE_MAX_VALUE_BYTES` + 64 KiB",
    ),
    Setting(
        "HEADER_TIMEOUT",
        duration(),
        10.0,
        "How long a connection may take until the headers of its first or next request are there, "
        "silent and idle ones too; then it is closed.",
        _OURS,
        default_text="10 s",
    ),
    Setting(
        "BODY_TIMEOUT",
        duration(),
        30.0,
        "How long a client may take to send a body: 408.",
        _OURS,
        default_text="30 s",
    ),
    Setting("MAX_BATCH_OPERATIONS", integer(1), 1000, "Operations of a batch: 413.", _ALL),
    Setting(
        "MAX_RESPONSE_BYTES",
        size(),
        None,
        "How many bytes the values in one response may have: a page of a listing ends early, a "
        "batch that reads more is 413.",
        _ALL,
        default_text="4 × `CACHE_MAX_VALUE_BYTES`",
    ),
    Setting("MAX_JSON_DEPTH", integer(1), 64, "How many levels a body may be nested: 400.", _ALL),
    Setting(
        "PERMANENT_SESSION_LIFETIME",
        duration(),
        float(_MONTH),
        "How long a client's state is kept after its last request.",
        _ALL,
        default_text="31 days",
    ),
    Setting(
        "SESSION_COOKIE_NAME",
        text(),
        "sharedstate_session",
        "The name of the cookie by which a client's state is found.",
        _ALL,
    ),
    Setting(
        "LOG_FORMAT",
        choice("text", "json"),
        None,
        "How all log lines of the service and of Granian are written, each with the id of its "
        "request.",
        _ALL,
        default_text="`python app.py`: `text`; other servers: as they log",
    ),
    Setting(
        "ACCESS_LOG",
        flag(),
        False,
        "A line for each request: client, method, path without the query, status, seconds; it "
        "costs about 45 µs.",
        _ALL,
        default_text="off",
    ),
    Setting(
        "METRICS_DIR",
        path(),
        None,
        "An empty directory in which the workers count together; needed for `/metrics` under "
        "gunicorn and others with several workers.",
        _ALL,
        default_text="`python app.py`: a temporary directory of its own",
    ),
    Setting(
        "FRONT",
        flag(),
        True,
        "Increments, and reading and writing one value, get their response before Flask: the same, "
        "several times as fast.",
        _OURS,
        default_text="on",
    ),
    Setting("DEMO", flag(), True, "The routes of the page's race.", _ALL, default_text="on"),
    Setting(
        "WORKERS",
        integer(1),
        1,
        "How many processes serve; `python app.py` sets it for its workers.",
        _ALL,
    ),
    Setting(
        "THREADS",
        integer(1),
        None,
        "With how many threads each process serves; only `python app.py` sets it, for its workers.",
        _OURS,
        default_text="",
    ),
)

# Of the library's settings, those with another default.
_DEFAULTS_OF_LIBRARY = {"CACHE_CODEC": "json"}

_BY_NAME = {setting.name: setting for setting in _TABLE}

DEFAULTS: dict[str, Any] = {
    **{name: setting.default for name, setting in _BY_NAME.items()},
    **_DEFAULTS_OF_LIBRARY,
}
"""What the configuration has where nothing else is set."""


def table() -> list[Setting]:
    """The settings of the service alone, in the order of the documentation."""
    return [*_TABLE]


def init_app(app: Flask, config: Mapping[str, Any] | None = None) -> None:
    """Give the application its settings: from ``FLASK_…`` variables, and from ``config`` first.

    Each has its type afterwards, and ``flask state info`` knows it.

    :raises ConfigurationError: names the setting, what it is unless it is secret, and what it can
        be.
    """
    app.config.from_mapping(DEFAULTS)
    known = {*app.config, *(setting.name for setting in table_of_library())}
    _read_environment(app.config)
    app.config.from_mapping(config)
    own = [name for name in app.config if name not in known and not name.startswith("CACHE_")]
    refuse_misspelt(own, known)
    _check(app.config)
    app.extensions["sharedstate_settings"] = changed(_TABLE, app.config)
    _derive(app.config)


def _read_environment(config: Config) -> None:
    # Their text is JSON where it can be.
    config.from_prefixed_env()
    for name in TOKENS:
        # Without this no token would be set, though the variable is there for one.
        if config[name] is None and f"FLASK_{name}" in os.environ:
            raise _BY_NAME[name].refusal(None)


def _check(config: Config) -> None:
    for setting in _TABLE:
        if config[setting.name] is None and setting.default is not None:
            raise setting.refusal(None)
    config.update(check(_TABLE, config))
    of_library = [row for row in table_of_library() if row.name == "CACHE_MAX_VALUE_BYTES"]
    config.update(check(of_library, config))


def _derive(config: Config) -> None:
    """Set what follows from other settings where it is not set itself."""
    if config["MAX_CONTENT_LENGTH"] is None:
        config["MAX_CONTENT_LENGTH"] = config["CACHE_MAX_VALUE_BYTES"] + BODY_ROOM
    if config["MAX_RESPONSE_BYTES"] is None:
        config["MAX_RESPONSE_BYTES"] = 4 * config["CACHE_MAX_VALUE_BYTES"]
