"""Log lines as text or as JSON, with the id of their request and without secrets."""

from __future__ import annotations

import logging.config
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from flask import Flask

from sharedstate import ConfigurationError

_JSON_NAMES = {"levelname": "level", "name": "logger", "exc_info": "exception"}
FORMATTERS: dict[str, dict[str, Any]] = {
    "text": {"()": f"{__name__}.TextFormatter"},
    "json": {
        "()": "pythonjsonlogger.json.JsonFormatter",
        "fmt": "%(levelname)s %(name)s %(request_id)s %(message)s",
        "rename_fields": _JSON_NAMES,
        "timestamp": "time",
    },
}
"""``LOG_FORMAT`` → what makes the lines."""

request_id = ContextVar("request_id", default="-")
"""The id of the present request, as log lines have it."""

HIDDEN = "***"
_CREDENTIALS = re.compile(
    r"""(?<=\bBearer\ ) [^\s'",\\]+ | (?<=\bBasic\ ) [A-Za-z0-9+/=]+""", re.VERBOSE | re.IGNORECASE
)
_AFTER_SCHEME = re.compile(r"""(?<=://)[^\s'"]+""")
_USER_ENDS = re.compile("[/@:]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def init_app(app: Flask) -> None:
    """Write logs as ``LOG_FORMAT`` says; without it, logging stays as the server has set it up.

    ``ACCESS_LOG`` alone means text.
    """
    style = app.config["LOG_FORMAT"] or ("text" if app.config["ACCESS_LOG"] else None)
    if style is not None:
        logging.config.dictConfig(configuration(style))


def configuration(style: str) -> dict[str, Any]:
    """What :func:`logging.config.dictConfig` and Granian need to write all logs in one style.

    :raises ConfigurationError: if there is no such ``LOG_FORMAT``.
    """
    if style not in FORMATTERS:
        raise ConfigurationError(f"LOG_FORMAT is {style!r}; it can be {' or '.join(FORMATTERS)}")
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": FORMATTERS[style]},
        "handlers": {"stderr": {"()": f"{__name__}.Handler", "formatter": "line"}},
        "root": {"handlers": ["stderr"], "level": "WARNING"},
        "loggers": {"service": {"level": "INFO"}, "_granian": {"propagate": True}},
    }


@contextmanager
def named(name: str) -> Iterator[None]:
    """Let the lines that are logged in the block have the id of a request."""
    token = request_id.set(name)
    try:
        yield
    finally:
        request_id.reset(token)


class Handler(logging.StreamHandler):  # type: ignore[type-arg]  # no generic at run time
    """Writes to the standard error stream, with the request's id and without secrets."""

    def format(self, record: logging.LogRecord) -> str:
        record.request_id = request_id.get()
        return without_secrets(super().format(record))


class TextFormatter(logging.Formatter):
    """One line a record, whatever is in its message; a traceback follows on lines of its own."""

    converter = time.gmtime  # type: ignore[assignment]  # typeshed has its argument required
    default_time_format = "%Y-%m-%dT%H:%M:%S"
    default_msec_format = "%s.%03dZ"

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s %(request_id)s %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:
        return _CONTROL.sub(lambda found: ascii(found[0])[1:-1], super().formatMessage(record))


def without_secrets(text: str) -> str:
    """Return the text with what gives access replaced: passwords in URLs, credentials."""
    return _CREDENTIALS.sub(HIDDEN, _AFTER_SCHEME.sub(_without_login, text))


def _without_login(found: re.Match[str]) -> str:
    """What follows a ``://``, with user and password replaced, up to the last ``@``.

    In one pass: a client may put a text of many ``://`` into its path.
    """
    rest = found.group()
    last = rest.rfind("@")
    start = 0
    while start <= last:
        user = _USER_ENDS.search(rest, start)
        if user and user.group() == ":" and user.start() < last:
            return f"{rest[:start]}{HIDDEN}{rest[last:]}"
        following = rest.find("://", start)
        if following < 0:
            break
        start = following + len("://")
    return rest
