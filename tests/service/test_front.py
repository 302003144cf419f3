"""The front keeps nobody waiting, and leaves to Flask what it does not know."""

from __future__ import annotations

import asyncio
import json
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from raw_requests import connect
from rsgi_requests import Client
from served import SECONDS, ask, free_port, serving
from two_ways import HOT, LOCAL, Way, loop, request, ways
from werkzeug.middleware.shared_data import SharedDataMiddleware

import app as service
from common import cache
from service.server import front
from sharedstate.errors import Overloaded
from sharedstate.stores.memory import MemoryStore
from sharedstate.stores.operations import Put

POOL = ThreadPoolExecutor(1)


class Held(MemoryStore):
    """A store that combines, and is asked by nobody before it is let go."""

    combines = True

    def __init__(self) -> None:
        super().__init__()
        self.submitted: list[Any] = []

    def submit(self, keys: Any, operation: Any, done: Any) -> None:
        self.submitted.append((keys, operation, done))

    def let_go(self) -> None:
        for keys, operation, done in self.submitted:
            super().submit(keys, operation, done)
        self.submitted.clear()


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Held:
    store = Held()
    monkeypatch.setattr(MemoryStore, "from_settings", lambda settings: store)
    monkeypatch.setattr("sharedstate.stores.registry.Combining", lambda store: store)
    return store


def taken(way: Way, scope: Any, body: bytes) -> tuple[Client, Any]:
    """What a request will be answered with, and how it ends."""
    client = Client(body)
    if body:
        return client, loop.create_task(way.bridge.__rsgi__(scope, client))
    ended: list[Any] = []
    end = partial(ended.append, "done")
    granians = SimpleNamespace(scope=scope, proto=client, done=end, err=ended.append)
    assert way.bridge.take(granians)
    return client, ended


def test_requests_that_wait_keep_nobody_waiting(held: Held) -> None:
    """Granian's thread and its loop go on, and each request gets its answer once it is there."""
    way = Way(True)
    writes = [HOT[0], HOT[1], HOT[4]]
    waiting = [taken(way, *one) for one in writes]
    loop.run_until_complete(asyncio.sleep(0))
    assert len(held.submitted) == 3
    assert not any(hasattr(client, "status") for client, _ in waiting)
    held.let_go()
    loop.run_until_complete(asyncio.gather(*(end for _, end in waiting[1:])))
    assert [client.status for client, _ in waiting] == [200, 200, 200]
    assert [json.loads(client.body)["value"] for client, _ in waiting] == [1, 3, 1]


class Slow(MemoryStore):
    """A store with a server, which responds when two have asked."""

    has_server = True

    def __init__(self) -> None:
        super().__init__()
        self.asked = threading.Barrier(2, timeout=60)

    def transact(self, keys: Any, operation: Any) -> Any:
        self.asked.wait()
        return super().transact(keys, operation)


def test_a_slow_server_keeps_nobody_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that does not combine is asked in threads, as many at once as THREADS says."""
    monkeypatch.setattr(MemoryStore, "from_settings", lambda settings: Slow())
    monkeypatch.setattr("sharedstate.stores.registry.Combining", lambda store: store)
    way = Way(True, THREADS=2)
    waiting = [taken(way, *HOT[0]) for _ in range(2)]
    way.bridge._pool.shutdown()
    assert {json.loads(client.body)["value"] for client, _ in waiting} == {1, 2}
    assert [ended for _, ended in waiting] == [["done"], ["done"]]


def test_what_is_refused_late_is_flasks(held: Held) -> None:
    """In a thread of its own: the one that tells of the refusal does the work of others."""
    way = Way(True)
    with way.app.app_context():
        MemoryStore.transact(held, (cache.state.keyspace.key("a"),), Put(b'"text"', 0))
    asked = [HOT[0], HOT[1]]
    waiting = [taken(way, *one) for one in asked]
    loop.run_until_complete(asyncio.sleep(0))
    held.let_go()
    loop.run_until_complete(waiting[1][1])
    way.bridge._pool.shutdown()
    for client, _ in waiting:
        assert (client.status, json.loads(client.body)["type"][-13:]) == (409, "not-a-counter")
    assert waiting[0][1] == ["done"]


def test_what_was_done_is_not_done_again(held: Held, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that is gone when its response comes does not make Flask do it once more."""

    def gone(*response: Any) -> None:
        raise ConnectionError

    way = Way(True)
    client, ended = taken(way, *HOT[0])
    monkeypatch.setattr(client, "response_bytes", gone)
    with pytest.raises(ConnectionError):
        held.let_go()
    way.bridge._pool.shutdown()
    assert ended == ["done"]
    with way.app.app_context():
        assert cache.get("a") == 1


def test_too_many_that_wait_are_told_so(held: Held, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full queue is 503 with Retry-After: what has no place in it is not kept in memory."""

    def refuse(keys: Any, operation: Any, done: Any) -> None:
        done(None, Overloaded("4,096 operations wait"))

    monkeypatch.setattr(held, "submit", refuse)
    client, _ = taken(Way(True), *HOT[0])
    assert (client.status, client.headers["Retry-After"]) == (503, "1")
    assert "nothing was changed" in json.loads(client.body)["detail"]


def test_metrics_and_the_log_have_the_front_too(caplog: pytest.LogCaptureFixture) -> None:
    """Its requests are counted by route, method and status, and logged with their ids."""
    seen = []
    for way in ways(ACCESS_LOG=True, LOG_FORMAT=None):
        caplog.clear()
        with caplog.at_level("INFO", "service.access"):
            for one in HOT:
                way(*one)
        seen.append([record.args for record in caplog.records])
        client = Client()
        way.bridge.respond(request("GET", "/metrics", LOCAL)[0], client)  # type: ignore[arg-type]
        counted = re.findall(rb"_seconds_count({.*}) (\d+)", client.body)
        seen[-1].append(counted)
    for record in (*seen[0][:-1], *seen[1][:-1]):
        del record["seconds"]
    assert seen[0] == seen[1]
    assert len(seen[0][-1]) == len(HOT) - 1


@pytest.mark.parametrize("change", ["after_request", "before_request", "teardown_request", "wsgi"])
def test_what_is_added_to_the_application_is_not_left_out(change: str) -> None:
    """The front is off where an application has functions or middleware that it does not know."""
    app = service.create_app({"CACHE_TYPE": "simple"})
    if change == "wsgi":
        app.wsgi_app = SharedDataMiddleware(app.wsgi_app, {})  # type: ignore[method-assign]
    else:
        getattr(app, change)(lambda *arguments: arguments[0] if arguments else None)
    with app.app_context():
        assert not front.Front(app, POOL)._routes
        assert front.Front(service.create_app({"CACHE_TYPE": "simple"}), POOL)._routes


@pytest.mark.slow
def test_a_client_that_goes_away_costs_nothing(tmp_path: Path) -> None:
    """Its increment may be done; others get their numbers, each another one, and it can stop."""
    port = free_port()
    with serving(
        port, "--workers", "1", CACHE_DIR=str(tmp_path), CACHE_DURABILITY="full"
    ) as server:
        assert ask(port, "POST", "/v1/counters/a")[0] == 200
        for _ in range(200):
            with connect(port) as client:
                client.sendall(b"POST /v1/counters/a HTTP/1.1\r\nHost: localhost\r\n\r\n" * 5)
        numbers = [json.loads(ask(port, "POST", "/v1/counters/a")[1])["value"] for _ in range(20)]
        assert numbers == sorted({*numbers}) and numbers[-1] <= 1021
        server.terminate()
        assert server.wait(SECONDS) == 0
