"""What is overridden of other packages is as it was read."""

from __future__ import annotations

import inspect
import re
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from granian import _futures
from rsgi_requests import Client, scope_of

import app as service
from service.server import rsgi


def test_private_parts_are_as_they_were_read() -> None:
    """What has a leading underscore in Granian is there, and is what it was."""
    assert [*inspect.signature(_futures._cbsched_aioschedule).parameters] == ["loop", "ctx", "cb"]


def test_the_version_is_bounded() -> None:
    """requirements.txt allows Granian's minor version that was read, and no later one."""
    text = (Path(__file__).parents[2] / "requirements.txt").read_text()
    bounds = re.search(r"^granian>=(\d+)\.(\d+),<(\d+)\.(\d+)\b", text, re.MULTILINE)
    assert bounds
    major, minor, next_major, following = map(int, bounds.groups())
    assert (next_major, following) == (major, minor + 1)
    assert version("granian").startswith(f"{major}.{minor}.")


@pytest.fixture(params=[True, False], ids=["front", "no front"])
def schedule(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    """What Granian calls for each request once a bridge has taken the shortcut, and its loop."""
    over_the_loop: list[Any] = []
    monkeypatch.setattr(_futures, "_cbsched_aioschedule", lambda *_: over_the_loop.append)
    settings = {"CACHE_TYPE": "simple", "TESTING": True, "FRONT": request.param}
    bridge = rsgi.Bridge(service.create_app(settings))
    monkeypatch.setattr(rsgi.signal, "signal", lambda *_: None)
    bridge.__rsgi_init__(None)  # type: ignore[arg-type]  # the loop is not used
    return _futures._cbsched_aioschedule(None, None, None), over_the_loop


def request_of(*arguments: Any, **headers: str) -> Any:
    seen: list[Any] = []
    return SimpleNamespace(
        scope=scope_of(*arguments, **headers),
        proto=Client(),
        done=lambda: seen.append("done"),
        err=seen.append,
        seen=seen,
    )


def test_granian_has_what_the_shortcut_takes() -> None:
    """A version of Granian without it would make every request slower."""
    assert callable(_futures._cbsched_aioschedule)


def test_only_bodies_go_over_the_loop(schedule: Any) -> None:
    """What has no body is answered by the caller, and what has one is left to the loop."""
    take, over_the_loop = schedule
    without, empty = request_of("GET", "/health/live"), request_of("GET", "/", content_length="0")
    measured = request_of("POST", "/v1/counters/a", content_length="2")
    unmeasured = request_of("POST", "/v1/counters/a", transfer_encoding="chunked")
    hot = request_of("POST", "/v1/counters/a", host="localhost")
    for request in (without, empty, measured, unmeasured, hot):
        take(request)
    assert [one.proto.status for one in (without, empty, hot)] == [200, 200, 200]
    assert [one.seen for one in (without, empty)] == [["done"], ["done"]]
    assert over_the_loop == [measured, unmeasured]


def test_what_the_application_does_not_catch_is_granians(schedule: Any) -> None:
    """An error outside of the application is handed on, so that the request ends."""
    request = request_of("GET", "/health/live")
    request.scope.server = None
    schedule[0](request)
    assert [type(error) for error in request.seen] == [AttributeError]
