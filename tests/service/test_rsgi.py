"""The way of a request from Granian to the application and back, without Granian."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Any

import pytest
from rsgi_requests import Client, Headers, scope_of

import app as service
from common import cache
from service.server import rsgi


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


def environ_of(*lines: tuple[str, str]) -> dict[str, Any]:
    """The headers of a request as the application sees them."""
    scope = scope_of("GET", "/")
    scope.headers = Headers(*lines)
    environ = rsgi._environ(scope)
    return {name: environ[name] for name in environ if name.startswith(("HTTP_", "CONTENT_"))}


def test_headers_are_what_wsgi_calls_them() -> None:
    """Those that come several times are one: joined by commas, cookies by semicolons."""
    assert environ_of(
        ("host", "localhost"),
        ("content-type", "text/plain"),
        ("content-length", "0"),
        ("x-odd", "1"),
        ("x-odd", "2"),
        ("cookie", "a=1"),
        ("cookie", "b=2"),
    ) == {
        "HTTP_HOST": "localhost",
        "CONTENT_TYPE": "text/plain",
        "CONTENT_LENGTH": "0",
        "HTTP_X_ODD": "1,2",
        "HTTP_COOKIE": "a=1; b=2",
    }


def test_names_that_clients_make_up_are_not_kept() -> None:
    """Those of headers are remembered, but not without end."""
    for number in range(300):
        assert environ_of((f"x-{number}", "1")) == {f"HTTP_X_{number}": "1"}
    assert len(rsgi._names) <= 100


@pytest.mark.parametrize(("workers", "threads"), [(1, 1), (2, 4)])
def test_the_application_knows_what_it_shares(
    monkeypatch: pytest.MonkeyPatch, workers: int, threads: int
) -> None:
    """The environment says whether there are several workers, and several threads."""
    settings = {"CACHE_TYPE": "simple", "WORKERS": workers, "THREADS": threads}
    app = service.create_app(settings)
    seen: list[Any] = []

    def response(environ: Any, start_response: Any) -> list[bytes]:
        seen.append((environ["wsgi.multiprocess"], environ["wsgi.multithread"]))
        start_response("200 OK", [])
        return []

    monkeypatch.setattr(app, "wsgi_app", response)
    rsgi.Bridge(app).respond(scope_of("GET", "/"), Client())  # type: ignore[arg-type]
    assert seen == [(workers > 1, threads > 1)]


def test_a_body_that_is_too_large_is_not_read_to_its_end(bridge: rsgi.Bridge) -> None:
    """What comes in chunks is left where it is once it is more than MAX_CONTENT_LENGTH."""
    client = Client(*[b" " * 60] * 5)
    scope = scope_of("POST", "/v1/counters/a", transfer_encoding="chunked", **JSON)
    asyncio.run(bridge.__rsgi__(scope, client))
    assert client.status == 413
    assert len(client.pieces) == 3


@pytest.mark.parametrize("name", ["x_forwarded_for", "idempotency_key", "content_length"])
def test_headers_with_an_underscore_are_left_out(name: str) -> None:
    """One would pass for the header with a hyphen, which a proxy sets or removes."""
    assert environ_of(("host", "localhost"), (name, "127.0.0.1")) == {"HTTP_HOST": "localhost"}
    hyphen = name.replace("_", "-")
    both = environ_of((hyphen, "1"), (name, "2"))
    assert list(both.values()) == ["1"]


def test_a_header_that_is_not_ascii_is_refused(bridge: rsgi.Bridge) -> None:
    """Left out, as Granian does, the request would be another one; beside an underscore too."""
    for lines in (
        [("if-match", "ü")],
        [("if-match", "ü"), ("x_odd", "1")],
        [("x_odd", "ü"), ("if-match", "ü")],
    ):
        scope, client = scope_of("DELETE", "/v1/values/a"), Client()
        scope.headers = Headers(("host", "localhost"), *lines)
        asyncio.run(bridge.__rsgi__(scope, client))
        assert client.status == 400
        assert client.headers["Content-Type"] == "application/problem+json"
        assert client.headers["Connection"] == "close"
        assert client.headers["X-Request-ID"]


def test_addresses_are_taken_apart() -> None:
    """Those of IPv6 lose their brackets."""
    environ = rsgi._environ(scope_of("GET", "/"))
    names = ("SERVER_NAME", "SERVER_PORT", "REMOTE_ADDR", "REMOTE_PORT")
    assert [environ[name] for name in names] == ["127.0.0.1", "5000", "::1", "4000"]


def test_a_body_that_does_not_come_is_not_waited_for() -> None:
    """After BODY_TIMEOUT seconds it is 408, with a length and in chunks."""

    class Silent(Client):
        async def __call__(self) -> bytes:
            return await asyncio.Future()

        async def __anext__(self) -> bytes:
            return await asyncio.Future()

    bridge = rsgi.Bridge(service.create_app({"CACHE_TYPE": "simple", "BODY_TIMEOUT": 0.01}))
    for headers in ({"content_length": "2"}, {"transfer_encoding": "chunked"}):
        client = Silent()
        asyncio.run(bridge.__rsgi__(scope_of("POST", "/v1/counters/a", **headers), client))
        assert client.status == 408
        assert client.headers["Connection"] == "close"


def test_a_body_as_large_as_it_may_be_is_read(bridge: rsgi.Bridge) -> None:
    """One of MAX_CONTENT_LENGTH bytes is."""
    body = b'{"delta": 2}'.ljust(100)
    client = Client(body)
    scope = scope_of("POST", "/v1/counters/a", content_length="100", **JSON)
    asyncio.run(bridge.__rsgi__(scope, client))
    assert (client.status, cache.get("a")) == (200, 2)


def test_one_thread_works_on_one_request_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """What Granian's threads hand over waits for the request before it."""
    bridge = rsgi.Bridge(service.create_app({"CACHE_TYPE": "simple", "THREADS": 1}))
    inside, most = [], []

    def work(*_: Any) -> None:
        inside.append(1)
        most.append(len(inside))
        entered.set()
        leave.wait(60)
        inside.pop()

    entered, leave = Event(), Event()
    monkeypatch.setattr(bridge, "_respond", work)
    with ThreadPoolExecutor(4) as pool:
        done = [pool.submit(bridge.respond, None, None) for _ in range(4)]  # type: ignore[arg-type]
        assert entered.wait(60)
        leave.set()
        for each in done:
            each.result()
    assert most == [1] * 4


def test_what_the_application_returns_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """As WSGI has it: files and contexts are let go of, after an error too."""
    app = service.create_app({"CACHE_TYPE": "simple"})
    bridge = rsgi.Bridge(app)
    closed = []

    class Parts:
        def __iter__(self) -> Iterator[bytes]:
            yield b"a"
            raise OSError

        def close(self) -> None:
            closed.append(True)

    def response(environ: Any, start_response: Any) -> Parts:
        start_response("200 OK", [])
        return Parts()

    monkeypatch.setattr(app, "wsgi_app", response)
    with pytest.raises(OSError):
        bridge.respond(scope_of("GET", "/"), Client())  # type: ignore[arg-type]
    assert closed == [True]
