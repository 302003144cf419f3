"""The way of a request from Granian to the application and back, without Granian."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from granian import _futures

import app as service
from common import cache
from service import rsgi


class Client:
    """Takes the answer, and has a body in pieces."""

    def __init__(self, *pieces: bytes) -> None:
        self.pieces = list(pieces)

    async def __call__(self) -> bytes:
        return b"".join(self.pieces)

    def __aiter__(self) -> Client:
        return self

    async def __anext__(self) -> bytes:
        if not self.pieces:
            raise StopAsyncIteration
        return self.pieces.pop(0)

    def response_bytes(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self.status, self.headers, self.body = status, dict(headers), body


def scope_of(method: str, path: str, **headers: str) -> Any:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return SimpleNamespace(
        method=method,
        path=path,
        query_string="",
        scheme="http",
        server="127.0.0.1:5000",
        client="[::1]:4000",
        headers=named,
    )


@pytest.fixture(params=[1, 4], ids=["1 thread", "4 threads"])
def bridge(request: pytest.FixtureRequest) -> Iterator[rsgi.Bridge]:
    config = {"CACHE_TYPE": "simple", "THREADS": request.param, "MAX_CONTENT_LENGTH": 100}
    app = service.create_app(config)
    with app.app_context():
        bridge = rsgi.Bridge(app)
        yield bridge
        if bridge._pool:
            bridge._pool.shutdown()


JSON = {"content_type": "application/json"}


def test_requests_reach_the_application(bridge: rsgi.Bridge) -> None:
    """With a body and without, with one thread and with several."""
    for number, (client, headers) in enumerate(
        [
            (Client(), {}),
            (Client(), {"content_length": "0"}),
            (Client(b"{}"), {"content_length": "2"} | JSON),
            (Client(b'{"delt', b'a": 1}', b""), {"transfer_encoding": "chunked"} | JSON),
        ],
        start=1,
    ):
        asyncio.run(bridge.__rsgi__(scope_of("POST", "/v1/counters/ü", **headers), client))
        assert (client.status, json.loads(client.body)) == (200, {"key": "ü", "value": number})


def test_the_query_is_read_as_utf_8(bridge: rsgi.Bridge) -> None:
    """Raw characters are what their escapes would be; escapes of other bytes are refused."""
    cache.set_many({"ü": 1, "u": 2})
    for query in ("prefix=ü", "prefix=%C3%BC"):
        scope, client = scope_of("GET", "/v1/values"), Client()
        scope.query_string = query
        asyncio.run(bridge.__rsgi__(scope, client))
        assert client.status == 200
        assert [item["key"] for item in json.loads(client.body)["items"]] == ["ü"]
    for query in ("prefix=%FC", "日=%FF"):
        scope, client = scope_of("GET", "/v1/values"), Client()
        scope.query_string = query
        asyncio.run(bridge.__rsgi__(scope, client))
        assert client.status == 400
        assert client.headers["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("status", "pieces", "headers"),
    [
        (400, [b'{"delta": 1}', b"", b""], {"transfer_encoding": "chunked"}),
        (400, [b"", b""], {"transfer_encoding": "chunked"}),
        (413, [b"{}" + b" " * 99], {"transfer_encoding": "chunked"}),
        (413, [b"{}"], {"content_length": "101"}),
    ],
    ids=["broken off", "broken off at once", "too much in chunks", "too much"],
)
def test_bodies_that_are_not_right_are_refused(
    bridge: rsgi.Bridge, status: int, pieces: list[bytes], headers: dict[str, str]
) -> None:
    """Nothing is counted."""
    client = Client(*pieces)
    asyncio.run(bridge.__rsgi__(scope_of("POST", "/v1/counters/a", **JSON, **headers), client))
    assert client.status == status
    assert client.headers["Content-Type"] == "application/problem+json"
    assert cache.keys() == []


@pytest.fixture
def schedule(monkeypatch: pytest.MonkeyPatch) -> Any:
    """What Granian calls for each request once a bridge has taken the shortcut, and its loop."""
    over_the_loop: list[Any] = []
    monkeypatch.setattr(_futures, "_cbsched_aioschedule", lambda *_: over_the_loop.append)
    bridge = rsgi.Bridge(service.create_app({"CACHE_TYPE": "simple", "TESTING": True}))
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
    """A version of Granian without it would make every request a tenth slower."""
    assert callable(_futures._cbsched_aioschedule)


def test_only_bodies_go_over_the_loop(schedule: Any) -> None:
    """What has no body is answered by the caller, and what has one is left to the loop."""
    take, over_the_loop = schedule
    without, empty = request_of("GET", "/health/live"), request_of("GET", "/", content_length="0")
    measured = request_of("POST", "/v1/counters/a", content_length="2")
    unmeasured = request_of("POST", "/v1/counters/a", transfer_encoding="chunked")
    for request in (without, empty, measured, unmeasured):
        take(request)
    assert (without.seen, without.proto.status) == (["done"], 200)
    assert (empty.seen, empty.proto.status) == (["done"], 200)
    assert over_the_loop == [measured, unmeasured]


def test_what_the_application_does_not_catch_is_granians(schedule: Any) -> None:
    """An error outside of the application is handed on, so that the request ends."""
    request = request_of("GET", "/health/live")
    request.scope.server = None
    schedule[0](request)
    assert [type(error) for error in request.seen] == [AttributeError]
