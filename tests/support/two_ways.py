"""A service with the front and one without, and requests that both are asked."""

from __future__ import annotations

import asyncio
import atexit
import random
import re
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

from flask import Flask
from rsgi_requests import Client, Headers, scope_of

import app as service
from common import cache
from service.contract.openapi import document
from service.server import front, rsgi

TOKEN, READING = "a token for all", "a token for reading"
LOCAL = ("host", "127.0.0.1:5000")
_OF_THE_MOMENT = ("Date", front.HEADER)
JSON = ("content-type", "application/json")


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
        """Status, headers without the request's id and the date, and body of the response."""
        client = Client(body)
        granians = SimpleNamespace(scope=scope, proto=client, done=lambda: None)
        was_there = self.bridge.take(granians)
        if was_there and not hasattr(client, "status"):
            raise AssertionError("no response")
        if not was_there:
            loop.run_until_complete(self.bridge.__rsgi__(scope, client))
        lines = [(name, value) for name, value in client.lines if name not in _OF_THE_MOMENT]
        return client.status, lines, client.body


loop = asyncio.new_event_loop()
atexit.register(loop.close)


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
    """The requests to which the two respond differently."""
    found = []
    for scope, body in requests:
        responses = [way(scope, body) for way in (one, other)]
        if responses[0] != responses[1]:
            found.append((scope, body, *responses))
    return found


def ways(**settings: Any) -> tuple[Way, Way]:
    return Way(True, **settings), Way(False, **settings)


HOT = [
    request("POST", "/v1/counters/a", LOCAL),
    request("POST", "/v1/counters/a", LOCAL, JSON, body=b'{"delta":2}'),
    request("GET", "/v1/counters/a", LOCAL),
    request("GET", "/v1/values/a", LOCAL),
    request("PUT", "/v1/values/a", LOCAL, JSON, body=b'{"value":1}'),
]
