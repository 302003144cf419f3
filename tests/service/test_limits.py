"""Requests that are too much, in any way: refused with the right status, and nothing changes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from itertools import product
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.exceptions import BadRequest

import app as service
from common import cache
from service.contract.merge_patch import merged

JSON = "application/json"
PATCH = "application/merge-patch+json"


@contextmanager
def client_of(**config: Any) -> Iterator[FlaskClient]:
    """A client of a service with these settings, and what nobody may change: a, n and a session."""
    app = service.create_app({"TESTING": True, "CACHE_TYPE": "simple", **config})
    with app.app_context():
        client = app.test_client()
        cache.set("a", {"kept": True})
        cache.set("n", 41)
        client.put("/v1/session/values/s", json={"value": 1})
        yield client


def everything(client: FlaskClient) -> Any:
    return cache.items(limit=1000), client.get("/v1/session").get_json()


def refused(client: FlaskClient, status: int, *words: str, **request: Any) -> dict[str, Any]:
    """The problem that a request is refused with; nothing has changed."""
    before = everything(client)
    response = client.open(**request)
    assert response.status_code == status, (request, response.text)
    assert response.mimetype == "application/problem+json"
    problem: dict[str, Any] = response.get_json(force=True)
    assert problem["status"] == status
    for word in words:
        assert word in problem["detail"]
    assert everything(client) == before, "a refusal has changed something"
    return problem


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


def nested(depth: int, opened: str = "[", closed: str = "]") -> str:
    return opened * depth + closed * depth


DEEP = {
    "lists": nested(5),
    "objects": nested(4, '{"a":', "}").replace("{}", "{1}").replace(":}", ":[1]}"),
    "after an escaped quote": '["\\"", ' + nested(4) + "]",
    "after an escaped backslash": '["\\\\", ' + nested(4) + ', "]"]',
    "late": "[[1], [[[[2]]]]]",
}
FLAT = {
    "lists": nested(4),
    "in a text": '"' + "[" * 50_000 + '"',
    "in a name": '{"' + "{" * 50 + '": "' + "}" * 50 + '"}',
    "between escaped quotes": '["\\"' + "[" * 50 + '\\"", "\\\\"]',
    "wide": "[" + "[]," * 50_000 + "[]]",
}


def putting(value: str) -> list[dict[str, Any]]:
    """Requests to store a value, in each way that there is."""
    body = f'{{"value":{value}}}'
    batch = f'{{"operations":[{{"op":"set","key":"a",{body[1:]}]}}'
    return [
        {"method": "PUT", "path": "/v1/values/a", "data": body},
        {"method": "PUT", "path": "/v1/session/values/s", "data": body},
        {"method": "PATCH", "path": "/v1/values/a", "data": value, "content_type": PATCH},
        {"method": "POST", "path": "/v1/batch", "data": batch},
    ]


def putting_four_deep(values: dict[str, str]) -> Iterator[tuple[str, int, FlaskClient, Any]]:
    """Each value in each way, where it may be nested four deep.

    :returns: its name, what MAX_JSON_DEPTH is, a client, and the request.
    """
    for way, around in enumerate((1, 1, 0, 3)):
        with client_of(MAX_JSON_DEPTH=around + 4) as client:
            for name, value in values.items():
                yield name, around + 4, client, {"content_type": JSON} | putting(value)[way]


def test_json_is_nested_at_most_max_json_depth_deep() -> None:
    """Deeper than that is 400, by whichever way it comes."""
    for _, most, client, request in putting_four_deep(DEEP):
        refused(client, 400, f"deeper than {most}", **request)


@pytest.mark.slow
def test_brackets_that_nest_nothing_do_not_count() -> None:
    """Brackets in texts, and any number of them beside each other, are no depth."""
    for name, _, client, request in putting_four_deep(FLAT):
        response = client.open(**request)
        assert response.status_code == 200, (name, response.text)


def test_very_deep_json_is_400() -> None:
    """100,000 brackets, closed or not, crash nothing, even if the setting would allow them."""
    for limit in (64, 10**9):
        with client_of(MAX_JSON_DEPTH=limit) as client:
            for opened, closed in (("[", "]"), ('{"a":', "}"), ('[{"a":', "}]"), ('[{"a":', "")):
                value = opened * 100_000 + (f"1{closed * 100_000}" if closed else "")
                for request in putting(value):
                    refused(client, 400, **({"content_type": JSON} | request))


@pytest.mark.parametrize("depth", [300, 500, 900, 1000, 1500, 3000])
def test_depth_that_the_setting_allows_is_stored_or_refused(depth: int) -> None:
    """With no limit of its own the service takes what it can handle, and refuses the rest."""
    with client_of(MAX_JSON_DEPTH=10**9) as client:
        for value in (nested(depth), '{"a":' * depth + "1" + "}" * depth):
            for request in putting(value):
                before = everything(client)
                response = client.open(**({"content_type": JSON} | request))
                assert response.status_code in (200, 400), response.text
                if response.status_code == 400:
                    assert everything(client) == before


def test_a_patch_that_python_cannot_follow_is_400() -> None:
    """Whatever the parser has let through."""
    patch: dict[str, Any] = {}
    for _ in range(100_000):
        patch = {"a": patch}
    with pytest.raises(BadRequest, match="deep"):
        merged({}, patch)


def test_patches_do_not_nest_deeper_than_they_are() -> None:
    """A patch of a patched value, again and again, leaves it as deep as the deepest of them."""
    with client_of(MAX_JSON_DEPTH=4) as client:
        for _ in range(10):
            client.patch("/v1/values/a", data='{"b":{"c":{"d":{}}}}', content_type=PATCH)
        value = client.get("/v1/values/a").get_json()["value"]
        assert value == {"kept": True, "b": {"c": {"d": {}}}}


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
