"""Requests that wait for another value: ``Prefer: wait`` with ``If-None-Match``."""

from __future__ import annotations

import asyncio
import http.client
import json
import signal
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from rsgi_requests import Client, scope_of
from served import SECONDS, ask, free_port, serving, wait_until_read
from werkzeug.http import parse_etags

import app as service
from common import cache
from service.server import rsgi, waiting
from service.server.waiting import Awaited, Waiters
from sharedstate import StoreUnavailable


@pytest.mark.parametrize(
    ("prefer", "seconds"),
    [
        *(("wait=20", 20), ("WAIT = 5", 5), ('wait="7"', 7), ("wait=9;a=b", 9), ("wait=999", 60)),
        *(("respond-async, wait=10", 10), ("wait=3, wait=4", 3), ("wait=x, wait=4", 4)),
        *((text, None) for text in ("", "wait", "wait=", "wait=0", "wait=-1", "wait=1.5")),
        *((text, None) for text in ("await=5", "a;wait=5", "wait=" + "9" * 10, "wait=²")),
    ],
)
def test_preferences(prefer: str, seconds: int | None) -> None:
    """What RFC 7240 allows is understood, anything else ignored, and nobody waits for too long."""
    awaited = Awaited.of(b"key", prefer, '"1"')
    assert (awaited and awaited.seconds) == seconds


class Waiter(Client):
    """A client that waits until it goes away."""

    def __init__(self) -> None:
        super().__init__()
        self.gone = asyncio.Event()

    async def client_disconnect(self) -> None:
        await self.gone.wait()


class Versions:
    """The versions in a store, and what was asked for."""

    def __init__(self) -> None:
        self.present: dict[bytes, str | None] = {b"a": "1", b"b": "1"}
        self.looks: list[list[bytes]] = []
        self.error: Exception | None = None

    def __call__(self, keys: Sequence[bytes]) -> list[str | None]:
        self.looks.append(list(keys))
        if self.error:
            raise self.error
        return [self.present[key] for key in keys]


@pytest.fixture
def versions(monkeypatch: pytest.MonkeyPatch) -> Versions:
    monkeypatch.setattr(waiting, "TICK_SECONDS", 0.001)
    return Versions()


def awaited(key: bytes = b"a", known: str = '"1"', seconds: int = SECONDS) -> Awaited:
    return Awaited(key, parse_etags(known), seconds)


def play(versions: Versions, scene: Callable[[Waiters], Awaitable[None]]) -> None:
    """Run a scene to its end; nothing of it is left then."""

    async def run() -> None:
        waiters = Waiters(versions)
        async with asyncio.timeout(SECONDS):
            await scene(waiters)
            while waiters._watcher is not None:
                await asyncio.sleep(0)
        assert not waiters._waiting
        assert not waiters._new
        waiters._reader.shutdown()

    asyncio.run(run())


async def looked(versions: Versions, times: int = 3) -> None:
    """The watcher has looked a few times more."""
    enough = len(versions.looks) + times
    while len(versions.looks) < enough:
        await asyncio.sleep(0.001)


class TestWaiters:
    @pytest.mark.parametrize("present", ["2", None])
    def test_change(self, versions: Versions, present: str | None) -> None:
        """All that wait for the key are told, and the others wait on."""

        async def scene(waiters: Waiters) -> None:
            of_a = [asyncio.create_task(waiters.wait(awaited(), Waiter())) for _ in range(50)]
            of_b = asyncio.create_task(waiters.wait(awaited(b"b"), Waiter()))
            await looked(versions)
            assert not any(task.done() for task in (*of_a, of_b))
            versions.present[b"a"] = present
            assert await asyncio.gather(*of_a) == [True] * 50
            await looked(versions)
            assert not of_b.done()
            waiters.close()
            assert await of_b

        play(versions, scene)
        assert max(map(len, versions.looks)) == 2  # However many wait.

    @pytest.mark.parametrize("known", ['"2"', "", '"2", W/"3"'])
    def test_at_once(self, versions: Versions, known: str) -> None:
        """Who does not know the present value need not wait for the next look at all keys."""
        waiting.TICK_SECONDS = 10 * SECONDS  # The fixture puts it back.

        async def scene(waiters: Waiters) -> None:
            other = asyncio.create_task(waiters.wait(awaited(b"b"), Waiter()))
            await looked(versions, 1)
            assert await waiters.wait(awaited(known=known), Waiter())
            assert versions.looks == [[b"b"], [b"a"]]
            waiters.close()
            assert await other
            assert waiters._watcher is not None
            waiters._watcher.cancel()  # It would sleep until the next look.

        play(versions, scene)

    @pytest.mark.parametrize("known", ['"1"', "*", 'W/"1", "2"'])
    def test_time_is_over(self, versions: Versions, known: str) -> None:
        """Without a change it ends when its time is over."""

        async def scene(waiters: Waiters) -> None:
            assert await waiters.wait(awaited(known=known, seconds=0), Waiter())
            over = asyncio.create_task(waiters.wait(awaited(known=known), Waiter()))
            await looked(versions)
            assert not over.done()
            waiters.close()
            assert await over

        play(versions, scene)

    def test_gone(self, versions: Versions) -> None:
        """A client that went away waits no longer."""

        async def scene(waiters: Waiters) -> None:
            client = Waiter()
            task = asyncio.create_task(waiters.wait(awaited(), client))
            await looked(versions)
            client.gone.set()
            assert not await task

        play(versions, scene)

    def test_error(self, versions: Versions) -> None:
        """If the store cannot be read nobody waits: Flask says what is wrong."""
        versions.error = StoreUnavailable("down")

        async def scene(waiters: Waiters) -> None:
            assert await waiters.wait(awaited(), Waiter())
            versions.error = None
            versions.present[b"a"] = "2"
            assert await waiters.wait(awaited(), Waiter())

        play(versions, scene)

    def test_room(self, versions: Versions, monkeypatch: pytest.MonkeyPatch) -> None:
        """A bounded number may wait, and none after the end."""
        monkeypatch.setattr(waiting, "WAITERS", 1)

        async def scene(waiters: Waiters) -> None:
            assert waiters.has_room()
            task = asyncio.create_task(waiters.wait(awaited(), Waiter()))
            await looked(versions)
            assert not waiters.has_room()
            waiters.close()
            assert await task
            assert not waiters.has_room()

        play(versions, scene)


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
