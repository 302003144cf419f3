"""Requests that are too much, in any way: refused with the right status, and nothing changes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from io import BytesIO
from itertools import product
from typing import Any

import pytest
from refusals import JSON, PATCH, client_of, everything, refused

WRITES = [
    ("PUT", "/v1/values/a", JSON),
    ("PATCH", "/v1/values/a", PATCH),
    ("POST", "/v1/counters/n", JSON),
    ("PUT", "/v1/counters/n", JSON),
    ("POST", "/v1/batch", JSON),
    ("POST", "/v1/locks/l", JSON),
    ("POST", "/v1/limits/l", JSON),
    ("PUT", "/v1/session/values/s", JSON),
    ("POST", "/v1/session/counters/s", JSON),
]


def writes() -> Iterator[dict[str, Any]]:
    """Each of the requests that change something, without its body."""
    for method, path, media in WRITES:
        yield {"method": method, "path": path, "content_type": media}


def test_a_body_has_at_most_max_content_length_bytes() -> None:
    """One byte more is 413, whatever is in it."""
    with client_of(MAX_CONTENT_LENGTH=100) as client:
        for request in writes():
            refused(client, 413, data=b"{}".ljust(101), **request)
            assert client.open(data=b"{}".ljust(100), **request).status_code != 413


def test_so_has_one_in_chunks() -> None:
    """A body without a length, valid as far as it is allowed to go, is 413 too."""
    with client_of(MAX_CONTENT_LENGTH=100) as client:
        for request in writes():
            refused(client, 413, **request, **in_chunks(b"{}".ljust(100) + b"rubbish"))


def in_chunks(body: bytes) -> dict[str, Any]:
    """As a server passes on a body that came in chunks."""
    return {
        "input_stream": BytesIO(body),
        "headers": {"Transfer-Encoding": "chunked"},
        "environ_overrides": {"wsgi.input_terminated": True},
    }


def test_a_body_that_broke_off_is_none() -> None:
    """With less than the Content-Length says, even nothing or valid JSON, nothing is done."""
    with client_of() as client:
        for request, sent in product(writes(), (b"", b"{}")):
            for terminated in ({}, {"wsgi.input_terminated": True}):
                environ = {"CONTENT_LENGTH": "10", "wsgi.input": BytesIO(sent)} | terminated
                refused(client, 400, environ_overrides=environ, **request)


def test_a_length_that_is_no_number_is_400() -> None:
    """Where a server lets such a Content-Length pass, the body is not taken for an empty one."""
    with client_of() as client:
        for request, length in product(writes(), ("-1", "abc", "1.5", "0x10")):
            environ = {"CONTENT_LENGTH": length, "wsgi.input": BytesIO(b'{"delta": 1}')}
            refused(client, 400, environ_overrides=environ, **request)


def test_a_value_has_at_most_cache_max_value_bytes() -> None:
    """What would be longer once it is stored is 413, with how long it would be."""
    sent: list[tuple[str, str, dict[str, Any]]] = [
        ("PUT", "/v1/values/a", {"value": "x" * 99}),
        ("PUT", "/v1/values/b", {"value": "x" * 99}),
        ("PATCH", "/v1/values/a", {"more": "x" * 85}),
        ("PUT", "/v1/session/values/t", {"value": "x" * 99}),
        ("POST", "/v1/batch", {"operations": [{"op": "set", "key": "a", "value": "x" * 99}]}),
    ]
    with client_of(CACHE_MAX_VALUE_BYTES=100) as client:
        for method, path, body in sent:
            media = PATCH if method == "PATCH" else JSON
            request = {"method": method, "path": path, "content_type": media}
            refused(client, 413, "allows 100", data=json.dumps(body), **request)


def test_a_patch_can_fill_a_value_but_not_more() -> None:
    """Patches, each of them small, make no value larger than is allowed."""
    with client_of(CACHE_MAX_VALUE_BYTES=100) as client:
        statuses = [
            client.patch("/v1/values/a", json={name: 1}, content_type=PATCH).status_code
            for name in "bcdefghijklmnopqrs"
        ]
        assert set(statuses) == {200, 413} and statuses == sorted(statuses)
        assert len(client.get("/v1/values/a").get_json()["value"]) == 1 + statuses.count(200)


def test_a_batch_has_at_most_max_batch_operations() -> None:
    """Three are done and four are 413, atomic or not; nothing of them is done."""
    with client_of(MAX_BATCH_OPERATIONS=3) as client:
        operations = [{"op": "inc", "key": "n"}] * 4
        for atomic in (True, False):
            body = {"operations": operations, "atomic": atomic}
            request = {"method": "POST", "path": "/v1/batch", "json": body}
            refused(client, 413, "4 operations", "3 are allowed", **request)
        assert client.post("/v1/batch", json={"operations": operations[:3]}).status_code == 200


KEYED = [
    ("GET", "/v1/values/{}", None),
    ("PUT", "/v1/values/{}", {"value": 1}),
    ("PATCH", "/v1/values/{}", {}),
    ("DELETE", "/v1/values/{}", None),
    ("GET", "/v1/counters/{}", None),
    ("POST", "/v1/counters/{}", {}),
    ("PUT", "/v1/counters/{}", {"value": 1}),
    ("DELETE", "/v1/counters/{}", None),
    ("POST", "/v1/locks/{}", {}),
    ("GET", "/v1/locks/{}", None),
    ("PUT", "/v1/locks/{}", {"token": "t"}),
    ("DELETE", "/v1/locks/{}", {"token": "t"}),
    ("POST", "/v1/limits/{}", {"limit": 1, "per": 1}),
    ("PUT", "/v1/session/values/{}", {"value": 1}),
    ("POST", "/v1/session/counters/{}", {}),
    ("PUT", "/v1/session/counters/{}", {"value": 1}),
]


def test_a_key_has_at_most_250_bytes() -> None:
    """As UTF-8, on every route that has a key in its path."""
    with client_of() as client:
        for method, path, body in KEYED:
            media = {"content_type": PATCH if method == "PATCH" else JSON}
            request = {"method": method} | ({} if body is None else {"json": body} | media)
            for letter, most in (("x", 250), ("ü", 125), ("𝄞", 62)):
                longest, longer = path.format(letter * most), path.format(letter * (most + 1))
                refused(client, 400, "250 are allowed", path=longer, **request)
                assert client.open(longest, **request).status_code != 400


def test_so_has_one_in_a_batch() -> None:
    """The whole batch is refused, in either mode, before anything of it is done."""
    with client_of() as client:
        for operation, atomic in product(("get", "set", "delete", "inc"), (True, False)):
            for key in ("x" * 251, "ü" * 126, "", "a\0b"):
                wrong = {"op": operation, "key": key} | ({"value": 1} if operation == "set" else {})
                body = {"operations": [{"op": "inc", "key": "n"}, wrong], "atomic": atomic}
                refused(client, 400, method="POST", path="/v1/batch", json=body)


@pytest.mark.parametrize(
    ("token", "status"), [("", 400), (" ", 400), ("x" * 250, 200), ("x" * 251, 400)]
)
def test_an_idempotency_key_has_1_to_250_bytes(token: str, status: int) -> None:
    """A longer or empty one is 400, and nothing is counted."""
    with client_of() as client:
        headers = {"Idempotency-Key": token}
        if status == 400:
            request = {"method": "POST", "path": "/v1/counters/n", "headers": headers}
            refused(client, 400, "Idempotency-Key", **request)
        else:
            assert client.post("/v1/counters/n", headers=headers).get_json()["value"] == 42


@pytest.mark.parametrize(
    "headers",
    [
        {"If-Match": ", ".join(f'"{n}"' for n in range(10_000))},
        {"If-Match": '"' * 50_000},
        {"If-Match": "W/" * 50_000},
    ],
    ids=["many tags", "quotes", "weak"],
)
def test_conditions_of_any_length_are_conditions(headers: dict[str, str]) -> None:
    """A huge If-Match without the present tag is 412."""
    with client_of() as client:
        request = {"path": "/v1/values/a", "json": {"value": 2}, "headers": headers}
        refused(client, 412, method="PUT", **request)


@pytest.mark.parametrize(
    "headers",
    [
        {"Cookie": "; ".join(f"c{n}=1" for n in range(5000))},
        {"Cookie": "sharedstate_session=" + "x" * 100_000},
        {"X-Request-ID": "x" * 100_000},
        {"Authorization": "Bearer " + "x" * 100_000},
        {"Accept": "a/b," * 20_000},
    ],
    ids=["cookies", "session", "request id", "token", "accept"],
)
def test_headers_of_any_length_do_no_harm(headers: dict[str, str]) -> None:
    """A server that lets long headers pass gets an answer like any other, of the same length."""
    with client_of() as client:
        client.delete_cookie("sharedstate_session", path="/v1/session")
        for path in ("/v1/values/a", "/v1/session", "/metrics"):
            response = client.get(path, headers=headers)
            assert response.status_code == 200
            assert sum(map(len, map(str, response.headers))) < 2000


@pytest.mark.parametrize(
    "query",
    [
        "&".join(f"a{n}=1" for n in range(5000)),
        "&".join(["limit=5"] * 5000) + "&nope=1",
        "prefix=" + "x" * 251,
        "cursor=" + "x" * 60_000,
        "limit=" + "9" * 60_000,
    ],
    ids=["names", "values", "prefix", "cursor", "limit"],
)
def test_a_query_that_is_too_much_is_400(query: str) -> None:
    """Thousands of parameters, or one that is too long, are refused."""
    with client_of() as client:
        refused(client, 400, method="GET", path="/v1/values", query_string=query)


@pytest.mark.parametrize("path", ["/v1/values/a", "/v1/values", "/v1/session", "/health/live"])
def test_a_body_of_a_get_is_not_looked_at(path: str) -> None:
    """It may be anything; the response is that of a request without one, and nothing changes."""
    with client_of(MAX_CONTENT_LENGTH=100) as client:
        before = everything(client)
        for body in (b'{"value": 2}', b"rubbish", b"x" * 101):
            response = client.get(path, data=body, content_type=JSON)
            assert response.status_code == 200
        assert everything(client) == before


def test_a_body_whose_end_nobody_knows_is_411() -> None:
    """A server that does not end the bodies in chunks gets no change done by half of one."""
    with client_of() as client:
        response = client.post(
            "/v1/counters/n",
            data='{"delta": 5}',
            content_type="application/json",
            headers={"Transfer-Encoding": "chunked"},
            environ_overrides={"wsgi.input_terminated": False, "CONTENT_LENGTH": ""},
        )
        assert (response.status_code, response.mimetype) == (411, "application/problem+json")
