"""Requests that wait for another value: ``Prefer: wait`` with ``If-None-Match``."""

from __future__ import annotations

import asyncio
import http.client
import json
import signal
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from rsgi_requests import Waiter, scope_of
from served import SECONDS, ask, free_port, serving, wait_until_read

import app as service
from common import cache
from service.server import rsgi


@pytest.fixture
def bridge(request: pytest.FixtureRequest) -> Iterator[rsgi.Bridge]:
    app = service.create_app({"CACHE_TYPE": "simple", **getattr(request, "param", {})})
    with app.app_context():
        bridge = rsgi.Bridge(app)
        yield bridge
        bridge._pool.shutdown()
        bridge._waiters._reader.shutdown()


async def get(bridge: rsgi.Bridge, path: str = "/v1/values/a", **headers: str) -> Waiter:
    client = Waiter()
    scope = scope_of("GET", path, **{"host": "127.0.0.1:5000", **headers})
    granians = type("Request", (), {"scope": scope, "proto": client, "done": lambda _: None})()
    async with asyncio.timeout(SECONDS):
        if not bridge.take(granians):
            await bridge.__rsgi__(scope, client)  # type: ignore[arg-type]
    return client


async def begun(bridge: rsgi.Bridge) -> None:
    async with asyncio.timeout(SECONDS):
        while not bridge._waiters._waiting:
            await asyncio.sleep(0)


def tag() -> str:
    item = cache.item("a")
    return f'"{item.version}"' if item else ""


def test_a_request_waits(bridge: rsgi.Bridge) -> None:
    """It gets the new value as soon as there is one, and is told that it might wait."""

    async def scene() -> Waiter:
        headers = {"prefer": "wait=20", "if_none_match": tag()}
        task = asyncio.create_task(get(bridge, **headers))
        await begun(bridge)
        cache.set("a", 2)
        return await task

    cache.set("a", 1)
    client = asyncio.run(scene())
    assert (client.status, json.loads(client.body)["value"]) == (200, 2)
    assert client.headers["ETag"] == tag()
    assert client.headers["Preference-Applied"] == "wait=20"


def test_a_request_has_waited(bridge: rsgi.Bridge, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a new value it is 304."""
    monkeypatch.setattr(bridge._waiters, "_limit", 1)
    cache.set("a", 1)

    async def scene() -> Waiter:
        task = asyncio.create_task(get(bridge, prefer="wait=20", if_none_match=tag()))
        await begun(bridge)
        beyond = await get(bridge, prefer="wait=20", if_none_match=tag())
        assert (beyond.status, "Preference-Applied" in beyond.headers) == (304, False)
        bridge._waiters.close()
        return await task

    client = asyncio.run(scene())
    assert (client.status, client.headers["Preference-Applied"]) == (304, "wait=20")


@pytest.mark.parametrize(
    ("bridge", "status", "path", "headers"),
    [
        ({}, 200, "a", {"prefer": "wait=20"}),
        ({}, 304, "a", {"if_none_match": "*"}),
        ({}, 304, "a", {"prefer": "respond-async", "if_none_match": "*"}),
        ({}, 400, "a\n", {"prefer": "wait=20", "if_none_match": "*"}),
        ({"API_TOKEN": "a token"}, 401, "a", {"prefer": "wait=20", "if_none_match": "*"}),
        ({}, 403, "a", {"prefer": "wait=20", "if_none_match": "*", "host": "evil.example"}),
        ({"FRONT": False}, 304, "a", {"prefer": "wait=20", "if_none_match": "*"}),
    ],
    indirect=["bridge"],
)
def test_others_do_not_wait(
    bridge: rsgi.Bridge, status: int, path: str, headers: dict[str, str], monkeypatch: Any
) -> None:
    """Who wants something else, or may not, gets an answer at once."""
    monkeypatch.setattr(bridge._waiters, "wait", None)
    cache.set("a", 1)
    client = asyncio.run(get(bridge, f"/v1/values/{path}", **headers))
    assert client.status == status
    assert "Preference-Applied" not in client.headers


def _waiting(port: int, known: str, responses: list[Any]) -> threading.Thread:
    def request() -> None:
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)) as connection:
            headers = {"Prefer": "wait=60", "If-None-Match": known}
            connection.request("GET", "/v1/values/a", headers=headers)
            response = connection.getresponse()
            responses.append((response.status, response.read()))

    thread = threading.Thread(target=request)
    thread.start()
    return thread


@pytest.mark.slow
def test_many_wait_and_the_end_waits_for_none(tmp_path: Path) -> None:
    """One thread serves others while 40 wait, tells them all, and SIGTERM ends those that wait."""
    port = free_port()
    with serving(port, "--workers", "1", CACHE_DIR=str(tmp_path)) as process:
        assert ask(port, "POST", "/v1/counters/a")[0] == 200
        responses: list[Any] = []
        known = _tag_of(port)
        threads = [_waiting(port, known, responses) for _ in range(40)]
        wait_until_read(port, 40)
        assert ask(port, "POST", "/v1/counters/a") == (200, b'{"key":"a","value":2}')
        for thread in threads:
            thread.join(SECONDS)
        assert responses == [(200, b'{"key":"a","value":2,"ttl":null}')] * 40
        known = _tag_of(port)
        last = _waiting(port, known, responses)
        wait_until_read(port)
        process.send_signal(signal.SIGTERM)
        last.join(SECONDS)
        assert process.wait(SECONDS) == 0
    assert responses[40:] == [(304, b"")]


def _tag_of(port: int) -> str:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)) as connection:
        connection.request("GET", "/v1/values/a")
        response = connection.getresponse()
        response.read()
        return str(response.headers["ETag"])
