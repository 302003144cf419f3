"""The front responds as Flask does, to the byte, and leaves everything else to it."""

from __future__ import annotations

import asyncio
import json
import random
import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from flask import Flask
from raw_requests import HANGING, RUBBISH, connect, talk
from rsgi_requests import Client, Headers, scope_of
from served import ask, free_port, serving
from werkzeug.middleware.shared_data import SharedDataMiddleware

import app as service
from common import cache
from service import hot
from service.contract.openapi import document
from service.server import front, rsgi
from sharedstate import StoreFull, StoreUnavailable
from sharedstate.errors import Overloaded
from sharedstate.stores.memory import MemoryStore
from sharedstate.stores.operations import Put

TOKEN, READING = "a token for all", "a token for reading"
LOCAL = ("host", "127.0.0.1:5000")
_OF_THE_MOMENT = ("Date", front.HEADER)
JSON = ("content-type", "application/json")
POOL = ThreadPoolExecutor(1)


class Way:
    """A service of its own, with or without the front; time stands still in its store."""

    def __init__(self, has_front: bool, **settings: Any) -> None:
        settings = {"CACHE_TYPE": "simple", "MAX_CONTENT_LENGTH": 2000} | settings
        self.app = service.create_app({**settings, "FRONT": has_front})
        with self.app.app_context():
            self.store = cache.state.store
        self.store.clock = lambda: 1_800_000_000.0
        self.bridge = rsgi.Bridge(self.app)

    def __call__(self, scope: Any, body: bytes) -> Any:
        """Status, headers without the request's id and the date, and body of the answer."""
        client = Client(body)
        granians = SimpleNamespace(scope=scope, proto=client, done=lambda: None)
        was_there = self.bridge.take(granians)
        if was_there and not hasattr(client, "status"):
            raise AssertionError("no answer")
        if not was_there:
            loop.run_until_complete(self.bridge.__rsgi__(scope, client))
        lines = [(name, value) for name, value in client.lines if name not in _OF_THE_MOMENT]
        return client.status, lines, client.body


loop = asyncio.new_event_loop()


@pytest.fixture(scope="module", autouse=True)
def closed_loop() -> Iterator[None]:
    yield
    loop.close()


def request(method: str, path: str, *lines: tuple[str, str], body: bytes = b"") -> Any:
    """What Granian hands over, and the body."""
    scope = scope_of(method, path)
    scope.client = "127.0.0.1:4000"
    if body:
        lines = (*lines, ("content-length", str(len(body))))
    scope.headers = Headers(*lines)
    return scope, body


KEYS = [
    *("a", "b", "a/b", "/", "//a", "a.b~c_d-e", "x=1;y", "a:b@c", "(a)!", "$&'*+,", "..", "a/../b"),
    *("ü", "日本", "a b", "a%20b", "%2e", "\\", '"', "a\nb", "a\0b", "\x7f", "a\ufffdb", "😀", ""),
    *("k" * 249, "k" * 250, "k" * 251, "ü" * 125, "ü" * 126, "[a]", "{a}", "<a>", "a|b", "a^`b"),
]
PATHS = ["/v1/counters/", "/v1/values/"]
OTHER_PATHS = [
    *("/", "/v1", "/v1/", "/v1/values", "/v1/counters", "/v1/Values/a", "//v1/values/a", "/v1//a"),
    *("/v1/locks", "/v1/batch", "/health/live", "/health/ready", "/openapi.json", "/docs", "*"),
]
METHODS = ["GET", "POST", "PUT"] * 4 + ["HEAD", "DELETE", "PATCH", "OPTIONS", "BREW", "get"]
QUERIES = [""] * 12 + ["a", "a=1", "=", "%FF", "ü"]
BODIES = [
    *(b"", b"{}", b"[]", b"null", b"1", b'"a"', b"{", b"\xff", b'{"delta":1,"delta":2}', b" {} "),
    *(b'{"delta": 2}', b'{"delta":-3}', b'{"delta":1.5}', b'{"delta":"1"}', b'{"delta":true}'),
    *(b'{"delta":%d}' % number for number in (2**63 - 1, -(2**63), 2**63, 10**40, 0)),
    *(b'{"initial":7}', b'{"initial":7,"minimum":0,"maximum":9}', b'{"minimum":2,"maximum":1}'),
    *(b'{"maximum":3}', b'{"minimum":null}', b'{"ttl":5}', b'{"ttl":0}', b'{"ttl":-1}', b'{"x":1}'),
    *(b'{"value":1}', b'{"value":null}', b'{"value":"\\ud800"}', b'{"value":"\xc3\xbc"}'),
    *(b'{"value":[1,{"a":[]}],"ttl":10}', b'{"value":1e999}', b'{"value":NaN}', b'{"value":-0.0}'),
    *(b'{"value":1.0}', b'{"value":%d}' % 2**64, b'{"value":12345678901234567890123}'),
    *(b'{"ttl":1}', b'{"value":1,"ttl":"1"}', b'{"value":1,"ttl":1e20}', b'{"value":1,"ttl":1e-9}'),
    b'{"value":' + b"[" * 64 + b"]" * 64 + b"}",
    b'{"value":' + b"[" * 63 + b"]" * 63 + b"}",
    b'{"value":"' + b"x" * 1980 + b'"}',
    b'{"value":"' + b"x" * 3000 + b'"}',
]
HOSTS = [
    *("127.0.0.1:5000", "localhost", "LOCALHOST", "[::1]:80", "127.9.9.9", "localhost:") * 3,
    *(
        "",
        "evil.example",
        "a..b",
        "a" * 70,
        "a_b",
        "state.example:80",
        "a b",
        "[::1",
        "localhost:99999",
        "ü",
        "a,b",
    ),
]
LINES = [
    *(JSON,) * 20,
    *(("content-type", media) for media in ("application/json; charset=utf-8", "text/plain", "")),
    *(("content-type", media) for media in ("APPLICATION/JSON", "application/problem+json")),
    *(("accept", "*/*"), ("accept", "text/html"), ("user-agent", "x/1"), ("cookie", "a=b; c")),
    *(("accept-encoding", "gzip"), ("accept-language", "de"), ("connection", "close")),
    *(("connection", "upgrade"), ("upgrade", "websocket"), ("pragma", "no-cache"), ("dnt", "1")),
    *(("cache-control", "no-cache"), ("referer", "http://x"), ("sec-fetch-mode", "cors")),
    *(("sec-fetch-site", site) for site in ("same-origin", "cross-site", "same-site", "none", "")),
    *(("origin", o) for o in ("http://127.0.0.1:5000", "http://localhost", "null", "http://evil")),
    *(("x-request-id", name) for name in ("mine", "a b", "", "x" * 65, "ü")),
    *(("if-match", "*"), ("if-match", '"a"'), ("if-none-match", "*"), ("if-range", "a")),
    *(
        ("idempotency-key", "a"),
        ("idempotency-key", ""),
        ("expect", "100-continue"),
        ("range", "a"),
    ),
    *(("x-http-method-override", "DELETE"), ("x_odd", "1"), ("via", "x")),
    *(("x-forwarded-for", text) for text in ("1.2.3.4", "1.2.3.4, 5.6.7.8", "127.0.0.1", "", ",")),
    *(("x-forwarded-host", text) for text in ("state.example", "evil", "a..b", "", "a, b", "ü")),
    *(("x-forwarded-proto", text) for text in ("https", "", "http, https")),
    *(("x-forwarded-port", "1"), ("x-forwarded-prefix", "/a"), ("x-real-ip", "1.2.3.4")),
    *(("content-length", text) for text in ("0", "00")),
    *(("authorization", f"Bearer {token}") for token in (TOKEN, READING, "wrong", "", "ü")),
    *(("authorization", f"bearer  {TOKEN} "), ("authorization", "Basic YTpi")),
    *(
        ("te", "trailers"),
        ("expect", "100-continue"),
        ("transfer-encoding", "chunked"),
        ("content-encoding", "gzip"),
    ),
]


def generated(count: int, seed: int, *usual: tuple[str, str]) -> Iterator[Any]:
    """Requests, most of which are of hot routes and have the usual headers."""
    choose = random.Random(seed)
    for _ in range(count):
        is_plain = choose.random() < 0.75
        key = choose.choice(KEYS[:6] if is_plain else KEYS)
        path = choose.choice(PATHS) + key
        if choose.random() < 0.03:
            path = choose.choice(OTHER_PATHS)
        method = choose.choice(METHODS[:3] if is_plain else METHODS)
        lines = [("host", choose.choice(HOSTS[:2] if is_plain else HOSTS))]
        lines += usual if is_plain else ()
        if not choose.randrange(50):
            lines = []
        body = choose.choice(BODIES) if method in ("PUT", "POST", "PATCH") else b""
        if method == "PUT" and is_plain:
            body = b'{"value":%d}' % choose.randrange(5)
        if body and is_plain:
            lines.append(JSON)
        for _ in range(choose.choice((0, 0, 0, 1, 2)) if is_plain else choose.randrange(5)):
            lines.append(choose.choice(LINES))
        # Granian itself refuses a length that is none, and waits for what it is the length of.
        if body or any(name == "transfer-encoding" for name, _ in lines):
            lines = [line for line in lines if line[0] != "content-length"]
        scope, body = request(method, path, *lines, body=body)
        scope.query_string = "" if is_plain else choose.choice(QUERIES)
        if not is_plain:
            scope.client = choose.choice(("127.0.0.1:1", "[::1]:1", "203.0.113.9:1", "10.0.0.1:1"))
        yield scope, body


def documented(app: Flask) -> Iterator[Any]:
    """Every operation of ``/openapi.json``, with its example and without a body."""
    told = document(app)
    for path, operations in told["paths"].items():
        for method in operations:
            at = re.sub(r"\{[^}]*\}", "visits", path)
            yield request(method.upper(), at, LOCAL)
            for body in (b"{}", b'{"value": 1}', b'{"delta": 2, "ttl": 60}'):
                yield request(method.upper(), at, LOCAL, JSON, body=body)


def differences(one: Way, other: Way, requests: Any) -> list[Any]:
    """The requests that the two answer differently."""
    found = []
    for scope, body in requests:
        answers = [way(scope, body) for way in (one, other)]
        if answers[0] != answers[1]:
            found.append((scope, body, *answers))
    return found


def ways(**settings: Any) -> tuple[Way, Way]:
    return Way(True, **settings), Way(False, **settings)


SETTINGS = {
    "open": {},
    "tokens": {"API_TOKEN": TOKEN, "API_READ_TOKEN": READING},
    "insecure": {"INSECURE": True},
    "timeout": {"CACHE_DEFAULT_TIMEOUT": 60},
    "trusted": {"TRUSTED_HOSTS": ["state.example"]},
    "proxies": {"PROXIES": 1, "INSECURE": True, "TRUSTED_HOSTS": [".example"]},
}


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
@pytest.mark.slow
def test_generated_requests_are_answered_alike(settings: Any, monkeypatch: Any) -> None:
    """700 with each of six settings, and many of them by the front."""
    known = count_answers(monkeypatch)
    seed = random.randrange(10**6)
    usual = [("authorization", f"Bearer {TOKEN}")] if "API_TOKEN" in settings else []
    found = differences(*ways(**settings), generated(700, seed, *usual))
    assert found == [], f"{len(found)} with the seed {seed}"
    assert len(known) > 140


def test_each_header_is_answered_alike() -> None:
    """Each of them on each hot request."""
    lines = dict.fromkeys(line for line in LINES if line[0] not in ("content-length", *JSON))
    plain = [(b"", LOCAL), (b'{"delta":2}', LOCAL, JSON), (b'{"value":1}', LOCAL, JSON)]
    asked = [
        request(method, f"/v1/{kind}/a", *usual, line, body=body)
        for line in lines
        for method, kind in front._TASKS
        for body, *usual in (plain if method != "GET" else plain[:1])
    ]
    assert len(asked) > 300
    assert differences(*ways(), asked) == []


def count_answers(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A list that has an entry for each request that the front has answered."""
    known, call = [], front.Front.__call__

    def counted(self: front.Front, *arguments: Any) -> int:
        who = call(self, *arguments)
        if who != front.FLASK:
            known.append(who)
        return who

    monkeypatch.setattr(front.Front, "__call__", counted)
    return known


def test_documented_requests_are_answered_alike() -> None:
    """All routes, known to the front or not."""
    one, other = ways()
    # They tell of the process and its past, or give out a random token.
    skipped = ("/metrics", "/v1/store", "/v1/locks", "/v1/session")
    requests = [r for r in documented(one.app) if not r[0].path.startswith(skipped)]
    assert len(requests) > 50
    assert differences(one, other, requests) == []


def test_a_difference_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the status, in a header, or in the body."""
    put = front._TASKS["PUT", "values"]
    for change in (
        lambda a: a._replace(status=a.status + 1),
        lambda a: a._replace(headers=a.headers[:-1]),
        lambda a: a._replace(body=a.body + b" "),
    ):

        def changed(*arguments: Any, change: Any = change) -> hot.Task:
            task = hot.put(*arguments)
            respond = task.respond
            task.respond = lambda result: change(respond(result))
            return task

        monkeypatch.setitem(front._TASKS, ("PUT", "values"), (put[0], changed))
        asked = request("PUT", "/v1/values/a", LOCAL, JSON, body=b'{"value":1}')
        assert len(differences(*ways(), [asked])) == 1


HOT = [
    request("POST", "/v1/counters/a", LOCAL),
    request("POST", "/v1/counters/a", LOCAL, JSON, body=b'{"delta":2}'),
    request("GET", "/v1/counters/a", LOCAL),
    request("GET", "/v1/values/a", LOCAL),
    request("PUT", "/v1/values/a", LOCAL, JSON, body=b'{"value":1}'),
]


@pytest.mark.parametrize(
    "error",
    [
        StoreUnavailable("down"),
        StoreUnavailable("cut", outcome_unknown=True),
        StoreFull("full"),
        ZeroDivisionError(),
    ],
    ids=["down", "unknown", "full", "unexpected"],
)
def test_errors_of_the_store_are_answered_alike(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store that may have done something is not asked again."""
    asked = []

    def fail(self: MemoryStore, keys: Any, *arguments: Any) -> Any:
        asked.append(keys)
        raise error

    monkeypatch.setattr(MemoryStore, "transact", fail)
    monkeypatch.setattr(MemoryStore, "read", fail)
    one, other = ways(PROPAGATE_EXCEPTIONS=False)
    assert differences(one, other, HOT) == []
    asked.clear()
    for scope, body in HOT:
        one(scope, body)
    assert (len(asked) > len(HOT)) is isinstance(error, StoreFull)


@pytest.mark.slow
def test_hostile_bytes_are_answered_alike(tmp_path: Path) -> None:
    """By two servers, of which one has no front."""
    ports = {"1": free_port(), "0": free_port()}
    requests = [get(b"/v1/values/a"), get("/v1/values/ü".encode()), get(b"/v1/values/a?x=\xe9")]
    requests += [*RUBBISH_SENT, *HANGING.values()]
    with ExitStack() as stack:
        for on, port in ports.items():
            own = {"CACHE_DIR": str(tmp_path / on), "FRONT": on}
            stack.enter_context(serving(port, "--workers", "1", **own))
        for sent in requests:
            # Granian forgets the request of a client that has hung up, or responds to it first.
            ends = b"Connection: close" not in sent
            answers = [_VARYING.sub(b"", talk(port, sent, ends=ends)) for port in ports.values()]
            is_lost = (ends or len(sent) > 60_000) and b"" in answers  # See test_hostile.
            assert is_lost or answers[0] == answers[1], sent[:200]


def get(path: bytes) -> bytes:
    return b"GET " + path + b" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


RUBBISH_SENT = [sent for sent, _ in RUBBISH.values()]
# Granian tells to close a connection if it has not read all of a body, which is a matter of time.
_VARYING = re.compile(rb"(?i)^(?:date|x-request-id|connection): .*\r\n", re.MULTILINE)


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
        assert server.wait(30) == 0
