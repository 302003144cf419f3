"""The service's own settings: what is said at start when one is wrong."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest

import app as service
from service import settings
from sharedstate import ConfigurationError

TOKENS = ("API_TOKEN", "API_READ_TOKEN")


def make(**config: Any) -> Any:
    return service.create_app({"CACHE_TYPE": "simple", **config})


@pytest.mark.parametrize(
    ("name", "possible", "values"),
    [
        ("PROXIES", "an integer of at least 0", ["two", "1", -1, 1.0, True, [1]]),
        ("THREADS", "an integer of at least 1", ["many", 0, -1, 1.5, True]),
        ("WORKERS", "an integer of at least 1", ["many", 0, False]),
        ("MAX_BATCH_OPERATIONS", "an integer of at least 1", ["", 0]),
        ("MAX_JSON_DEPTH", "an integer of at least 1", ["deep", 0]),
        ("MAX_CONTENT_LENGTH", "a positive number of bytes", ["1 M", "much", True, 0]),
        ("MAX_RESPONSE_BYTES", "a positive number of bytes", ["1MBit", "-1mb", "", 0]),
        ("CACHE_MAX_VALUE_BYTES", "a positive number of bytes", ["1/2MB", [1], 0]),
        ("DEMO", "true or false", ["off", 2, None]),
        ("LOG_FORMAT", "text or json", ["xml", 1]),
        ("TRUSTED_HOSTS", "a list of text", [5, [5]]),
        ("SESSION_COOKIE_NAME", "text", [5]),
        ("METRICS_DIR", "a directory", [5]),
        ("BODY_TIMEOUT", "a positive number of seconds", ["soon", 0, -1, True, None, 1e300]),
        ("HEADER_TIMEOUT", "a positive number of seconds", ["", 0, float("nan")]),
        ("PERMANENT_SESSION_LIFETIME", "a positive number of seconds", ["long", timedelta(0)]),
    ],
)
def test_a_wrong_value_is_refused_at_start(name: str, possible: str, values: list[Any]) -> None:
    """The error has the setting's name, what it is, and what it can be."""
    for value in values:
        expected = re.escape(f"{name} is {value!r}; it can be {possible}")
        with pytest.raises(ConfigurationError, match=expected):
            make(**{name: value})


def test_right_values_are_taken() -> None:
    """Fractions of seconds, and the bounds themselves."""
    make(BODY_TIMEOUT=0.5, HEADER_TIMEOUT=1, PERMANENT_SESSION_LIFETIME=60, PROXIES=0, THREADS=1)


def test_sizes_and_durations_have_units() -> None:
    """The configuration has their numbers of bytes and of seconds afterwards."""
    app = make(CACHE_MAX_VALUE_BYTES="1mb", BODY_TIMEOUT="500ms", PERMANENT_SESSION_LIFETIME="7d")
    assert app.config["CACHE_MAX_VALUE_BYTES"] == 1_000_000
    assert app.config["MAX_RESPONSE_BYTES"] == 4_000_000
    assert app.config["BODY_TIMEOUT"] == 0.5
    assert app.permanent_session_lifetime == timedelta(days=7)
    assert app.extensions["sharedstate"].state.max_value_bytes == 1_000_000


def test_defaults_are_settings() -> None:
    """Each row of the table is in the configuration, with its default; all names are different."""
    config = make().config
    for row in settings.table():
        derived = row.name in ("MAX_CONTENT_LENGTH", "MAX_RESPONSE_BYTES")
        assert derived or config[row.name] == row.default
    names = [row.name for row in [*settings.table(), *settings.table_of_library()]]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("token", [0, False, [], {}, "", " ", "a ", 12345, True, "ü", "a\nb"])
@pytest.mark.parametrize("name", TOKENS)
def test_what_is_no_token_is_refused(name: str, token: Any) -> None:
    """One that no client could send, or that was read as JSON, must not stand for none."""
    with pytest.raises(ConfigurationError, match=f"{name} must be text"):
        make(**{name: token})


@pytest.mark.parametrize("name", TOKENS)
@pytest.mark.parametrize("text", ["null", "0", "false", "[]", "", '""'])
def test_a_variable_that_is_no_token_is_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, text: str
) -> None:
    """Whoever sets the variable wants a token; JSON in it must not open the door."""
    monkeypatch.setenv(f"FLASK_{name}", text)
    with pytest.raises(ConfigurationError, match=name):
        make()


@pytest.mark.parametrize(
    ("name", "meant"), [("API_TOKE", "API_TOKEN"), ("MAX_CONTENT_LENGHT", "MAX_CONTENT_LENGTH")]
)
def test_a_variable_that_is_nearly_a_setting_is_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, meant: str
) -> None:
    """Its default would be used in silence. What Flask and others read is left alone."""
    for other in ("APP", "DEBUG", "RUN_PORT", "SKIP_DOTENV"):
        monkeypatch.setenv(f"FLASK_{other}", "1")
    make()
    monkeypatch.setenv(f"FLASK_{name}", "secret")
    with pytest.raises(ConfigurationError, match=f"no setting {name}; did you mean {meant}"):
        make()


def test_equal_tokens_are_refused() -> None:
    """The one for reading would change everything."""
    with pytest.raises(ConfigurationError, match="API_TOKEN and API_READ_TOKEN are equal"):
        make(API_TOKEN="secret", API_READ_TOKEN="secret")


def test_proxies_need_a_token() -> None:
    """Without one the client's address decides, which a proxy may pass on as the client forged it.

    ``INSECURE`` says that it is meant.
    """
    with pytest.raises(ConfigurationError, match="PROXIES needs an API_TOKEN"):
        make(PROXIES=1)
    make(PROXIES=1, INSECURE=True)
    make(PROXIES=1, API_READ_TOKEN="for-reading")
