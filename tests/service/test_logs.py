"""Log lines: their form, their request, and what is not in them."""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

import app as service
from common import cache
from service.logs import configuration, without_secrets
from sharedstate import ConfigurationError, StoreFull, StoreUnavailable
from sharedstate.stores.memory import MemoryStore

TOKEN = "s3cr3t-t0k3n-of-16-characters-or-more"
URL = "redis://user:p@ss:w/rd@host:6379/0"


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    """What the application sets up is undone."""
    loggers = [logging.getLogger(name) for name in (None, "service", "_granian")]
    saved = [(logger, logger.level, logger.handlers[:], logger.propagate) for logger in loggers]
    yield
    for logger, level, handlers, propagate in saved:
        logger.setLevel(level)
        logger.handlers[:] = handlers
        logger.propagate = propagate


def make(**settings: Any) -> Flask:
    return service.create_app({"CACHE_TYPE": "simple", **settings})


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    """What was logged as JSON, one object a line."""
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_without_settings_logging_stays_as_it_was(capsys: pytest.CaptureFixture[str]) -> None:
    """An application that is not told how to log leaves the root logger to its server."""
    before = logging.root.handlers[:], logging.root.level
    make().test_client().get("/health/live")
    assert (logging.root.handlers, logging.root.level) == before
    assert capsys.readouterr().err == ""


def test_json_is_one_object_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    """Each line has the time, level, logger, request and message, and what was added to it."""
    make(LOG_FORMAT="json")
    logging.getLogger("other").warning("two\nlines", extra={"key": "ü"})
    (line,) = lines(capsys)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+\+00:00", line.pop("time"))
    assert line == {
        "level": "WARNING",
        "logger": "other",
        "request_id": "-",
        "message": "two\nlines",
        "key": "ü",
    }


def test_text_is_one_line_whatever_a_client_sends(capsys: pytest.CaptureFixture[str]) -> None:
    """A message cannot pretend to be two, nor move the cursor of a terminal."""
    client = make(ACCESS_LOG=True).test_client()
    client.get("/v1/values/a%0A2026-01-01%20forged%1B%5B2J%C2%85%E2%80%A8%E2%80%A9")
    (line,) = capsys.readouterr().err.splitlines()
    assert r"/v1/values/a\n2026-01-01 forged\x1b[2J\x85\u2028\u2029 400" in line
    assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z INFO service.access ", line)


def test_times_are_utc(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever the machine is, as the Z at the end says."""
    monkeypatch.setenv("TZ", "Asia/Kathmandu")
    time.tzset()
    try:
        make(LOG_FORMAT="text")
        record = logging.makeLogRecord({"msg": "a", "levelno": 40, "created": 0.5, "msecs": 500})
        logging.root.handle(record)
    finally:
        monkeypatch.undo()
        time.tzset()
    assert capsys.readouterr().err.startswith("1970-01-01T00:00:00.500Z ")


def test_loggers_that_were_there_go_on(capsys: pytest.CaptureFixture[str]) -> None:
    """What other packages have set up before is not silenced."""
    earlier = logging.getLogger("earlier")
    make(LOG_FORMAT="json")
    earlier.error("said")
    assert [line["message"] for line in lines(capsys)] == ["said"]


def test_an_unknown_format_is_a_wrong_setting() -> None:
    """The error names the setting and what it can be."""
    with pytest.raises(ConfigurationError, match="LOG_FORMAT is 'xml'; it can be text or json"):
        make(LOG_FORMAT="xml")


@pytest.mark.parametrize("is_on", [True, False])
def test_the_access_log_has_one_line_a_request(
    capsys: pytest.CaptureFixture[str], is_on: bool
) -> None:
    """With ACCESS_LOG each request is one line with its answer; without it, none."""
    client = make(LOG_FORMAT="json", ACCESS_LOG=is_on).test_client()
    responses = [client.post("/v1/counters/a"), client.get("/nope")]
    logged = lines(capsys)
    if not is_on:
        assert logged == []
        return
    expected = [("POST", "/v1/counters/a", 200), ("GET", "/nope", 404)]
    assert [(line["method"], line["path"], line["status"]) for line in logged] == expected
    assert [line["request_id"] for line in logged] == [
        response.headers["X-Request-ID"] for response in responses
    ]
    assert all(line["client"] == "127.0.0.1" and line["seconds"] > 0 for line in logged)


def test_the_access_log_shows_no_secrets(capsys: pytest.CaptureFixture[str]) -> None:
    """Neither the Authorization header nor the query, where a lock's token may be."""
    app = make(LOG_FORMAT="json", ACCESS_LOG=True, API_TOKEN=TOKEN)
    headers = {"Authorization": f"Bearer {TOKEN}"}
    response = app.test_client().get(f"/v1/values?prefix={TOKEN}", headers=headers)
    assert response.status_code == 200
    (line,) = capsys.readouterr().err.splitlines()
    assert TOKEN not in line


@pytest.mark.parametrize("style", ["text", "json"])
def test_errors_of_a_store_show_no_password(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, style: str
) -> None:
    """What a driver says is in the log, without the password of the URL in it."""

    def fail(*arguments: Any) -> Any:
        raise StoreUnavailable(f"cannot reach {URL}: refused")

    monkeypatch.setattr(MemoryStore, "transact", fail)
    response = make(LOG_FORMAT=style).test_client().post("/v1/counters/a")
    logged = capsys.readouterr().err
    assert response.status_code == 503
    assert "cannot reach redis://***@host:6379/0: refused" in logged
    assert response.headers["X-Request-ID"] in logged
    assert "ss:w/rd" not in logged + response.text


@pytest.mark.parametrize("kind", [StoreFull, StoreUnavailable, ConfigurationError])
def test_answers_show_no_place_of_the_server(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, kind: type[Exception]
) -> None:
    """Paths and hosts are in the log, once for each error, with the id of the answer."""

    def fail(*arguments: Any) -> Any:
        raise kind("/srv/secret/state.db on db.internal is full")

    client = make(LOG_FORMAT="json").test_client()
    monkeypatch.setattr(MemoryStore, "transact", fail)
    one = client.post("/v1/counters/a")
    several = [{"op": "inc", "key": "a"}]
    each = client.post("/v1/batch", json={"operations": several, "atomic": False})
    logged = lines(capsys)
    # One store that is down is an error of the whole batch, and of no operation.
    statuses = [result["status"] for result in each.get_json(force=True).get("results", [])]
    assert one.status_code == (statuses or [each.status_code])[0] >= 500
    for response in (one, each):
        assert "secret" not in response.text and "internal" not in response.text
        (line,) = (
            line for line in logged if line["request_id"] == response.headers["X-Request-ID"]
        )
        assert line["message"] == "/srv/secret/state.db on db.internal is full"


def test_a_full_store_shows_no_path(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """The answer says that the write was not made; the log, where the file is."""
    app = service.create_app({"CACHE_DIR": str(tmp_path), "CACHE_MAX_BYTES": 1 << 17})
    with app.app_context():
        client = app.test_client()
        responses = [
            client.put(f"/v1/values/{number}", json={"value": "x" * 10_000}) for number in range(20)
        ]
        cache.state.close()
    assert responses[-1].status_code == 507
    assert str(tmp_path) not in responses[-1].text
    assert "nothing was changed" in responses[-1].text


@pytest.mark.parametrize("style", ["text", "json"])
def test_what_a_client_sends_makes_no_long_line(
    capsys: pytest.CaptureFixture[str], style: str
) -> None:
    """A path or method of 60,000 characters is cut, so that it is neither written nor searched."""
    client = make(LOG_FORMAT=style, ACCESS_LOG=True).test_client()
    client.open(f"/v1/values/{'://:' * 15_000}", method="B" * 60_000)
    (line,) = capsys.readouterr().err.splitlines()
    assert "BBBB..." in line and "://:" in line
    assert len(line) < 3000


@pytest.mark.parametrize("style", ["text", "json"])
def test_a_bugs_trace_is_in_the_log_alone(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, style: str
) -> None:
    """The answer has the id under which the log has the trace, without secrets."""

    def fail(*arguments: Any) -> Any:
        raise ZeroDivisionError(f"'Authorization': 'Bearer {TOKEN}' on {URL}")

    monkeypatch.setattr(MemoryStore, "transact", fail)
    response = make(LOG_FORMAT=style).test_client().post("/v1/counters/a")
    logged = capsys.readouterr().err
    assert response.status_code == 500
    assert "ZeroDivisionError" in logged and "Traceback" in logged
    assert response.headers["X-Request-ID"] in logged
    assert "Traceback" not in response.text and "ZeroDivision" not in response.text
    assert TOKEN not in logged + response.text
    assert "ss:w/rd" not in logged + response.text
    if style == "json":
        assert "Traceback" in json.loads(logged)["exception"]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (URL, "redis://***@host:6379/0"),
        ("manager://:authkey@10.0.0.1:7000 is down", "manager://***@10.0.0.1:7000 is down"),
        ("postgresql+psycopg://u:p@h/db", "postgresql+psycopg://***@h/db"),
        ("redis://:s3cr#t@host", "redis://***@host"),
        ("a://u:p@h, b://u:q@w@h and c://h/x", "a://***@h, b://***@h and c://h/x"),
        ("Authorization: Bearer abc.d-e_f", "Authorization: Bearer ***"),
        ("Authorization: basic dTpw", "Authorization: basic ***"),
        ("Basic dT+/pw==, x", "Basic ***, x"),
        ("http://host:5000/v1/values/a", "http://host:5000/v1/values/a"),
        ("user@host at 10:30", "user@host at 10:30"),
    ],
)
def test_secrets_are_hidden_and_nothing_else(text: str, shown: str) -> None:
    """Passwords in URLs and credentials are replaced; what has none stays as it is."""
    assert without_secrets(text) == shown


@pytest.mark.parametrize("piece", [":", "://", "://a:", "@", "://:@", "Bearer "])
def test_no_text_takes_long(piece: str) -> None:
    """Nothing that a client may put into its path keeps a worker busy: the work is linear."""
    assert without_secrets("://" + piece * 100_000)


def test_granian_logs_in_the_same_form(capsys: pytest.CaptureFixture[str]) -> None:
    """The configuration that Granian is given writes its own lines the same way."""
    from granian.log import LogLevels, configure_logging

    configure_logging(LogLevels.warning, configuration("json"), True)
    logging.getLogger("_granian").error("a worker died")
    logging.getLogger("_granian").info("not shown")
    (line,) = lines(capsys)
    assert (line["logger"], line["message"]) == ("_granian", "a worker died")
