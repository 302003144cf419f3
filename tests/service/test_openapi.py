"""`/openapi.json`: all that there is, and as it is."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from documented import DOCUMENT, OPERATIONS, open_app
from flask import Flask
from flask.testing import FlaskClient
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

from common import cache
from routes import docs
from service.contract.openapi import document

PUBLIC = ("/v1/", "/demo", "/health/", "/metrics")
KEY = "k"


def query_of(operation: dict[str, Any]) -> list[dict[str, Any]]:
    return [each for each in operation["parameters"] if each["in"] == "query"]


@pytest.fixture
def app() -> Iterator[Flask]:
    app = open_app()
    with app.app_context():
        yield app


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    """One that keeps something of each kind under the key `KEY`."""
    client = app.test_client()
    cache.set(KEY, 1)
    client.put(f"/v1/session/values/{KEY}", json={"value": 1})
    return client


@pytest.mark.parametrize("config", [{}, {"API_TOKEN": "t"}, {"API_READ_TOKEN": "r"}])
def test_the_document_is_openapi_3_1(config: dict[str, str]) -> None:
    """With and without tokens it is what the specification asks for, and served as it is."""
    app = open_app(**config)
    served = app.test_client().get("/openapi.json")
    with app.app_context():
        assert served.get_json() == json.loads(json.dumps(document(app)))
    assert served.get_json()["openapi"].startswith("3.1.")
    OpenAPIV31SpecValidator(served.get_json()).validate()


def test_every_route_is_in_it(app: Flask) -> None:
    """Whatever a client may call is documented, by path and method."""
    documented = {
        (path, method.upper())
        for path, methods in DOCUMENT["paths"].items()
        for method in methods
        if method != "parameters"
    }
    routed = {
        (re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule), method)
        for rule in app.url_map.iter_rules()
        if rule.rule.startswith(PUBLIC)
        for method in rule.methods or ()
        if method not in {"HEAD", "OPTIONS"}
    }
    assert documented == routed


def test_every_reference_leads_somewhere_and_every_schema_is_used() -> None:
    """No class is described that nothing names, and none is named that is not described."""
    named = set(re.findall(r'"#/components/schemas/(\w+)"', json.dumps(DOCUMENT)))
    assert named == set(DOCUMENT["components"]["schemas"])


@pytest.mark.parametrize(("path", "method", "operation"), OPERATIONS)
def test_every_operation_answers_as_documented(
    client: FlaskClient, path: str, method: str, operation: dict[str, Any]
) -> None:
    """A request made from the document succeeds, with a body that the document describes."""
    if operation["operationId"] == "locks_show":
        client.post(f"/v1/locks/{KEY}")
    response = client.open(
        re.sub(r"{\w+}", KEY, path),
        method=method,
        query_string={p["name"]: p["schema"].get("default") for p in query_of(operation)},
        **body_of(client, path, method, operation),
    )
    documented = operation["responses"].get(str(response.status_code))
    assert response.status_code < 300, response.text
    assert documented, f"{response.status_code} is not documented"
    content = documented.get("content")
    assert (content is None) == (response.data == b"")
    if content:
        schema = content[response.mimetype]["schema"]
        body = response.get_json() if response.is_json else response.text
        Draft202012Validator(schema | {"components": DOCUMENT["components"]}).validate(body)


def takes_members(operation: dict[str, Any]) -> bool:
    """Whether there are members or parameters of its own, not just any JSON or nothing."""
    content = operation.get("requestBody", {}).get("content", {})
    return "application/json" in content or bool(query_of(operation))


def test_what_the_document_does_not_know_is_refused(client: FlaskClient) -> None:
    """A member or parameter that is not documented is 400, and nothing changes."""
    for path, method, operation in (each.values for each in OPERATIONS):
        if not takes_members(operation):
            continue
        whole = body_of(client, path, method, operation).get("json")
        unknown = (
            {"query_string": {"unknown": 1}} if whole is None else {"json": {**whole, "unknown": 1}}
        )
        before = cache.items(limit=1000)
        response = client.open(re.sub(r"{\w+}", KEY, path), method=method, **unknown)
        assert (response.status_code, "unknown" in response.text) == (400, True), operation
        assert "400" in operation["responses"]
        assert cache.items(limit=1000) == before
        let_go(client, unknown)


def test_an_unknown_query_member_is_refused(client: FlaskClient) -> None:
    """Whatever the route, with a body that is right, it is 400 and nothing changes."""
    for path, method, operation in (each.values for each in OPERATIONS):
        sent = body_of(client, path, method, operation)
        before = cache.items(limit=1000), client.get("/v1/session").data
        for query in ("unknown=5", "delta=5", "%FF=1", "unknown"):
            url = re.sub(r"{\w+}", KEY, path)
            response = client.open(url, method=method, query_string=query, **sent)
            assert response.status_code == 400, (path, method, query)
            assert response.mimetype == "application/problem+json"
            assert "query" in response.get_json(force=True)["detail"]
            assert (cache.items(limit=1000), client.get("/v1/session").data) == before
        assert "400" in operation["responses"]
        let_go(client, sent)


@pytest.mark.parametrize("query", ["limit=1&limit=1", "prefix=a&limit=2&prefix=b", "prefix=%FF"])
def test_a_query_member_comes_once_and_as_text(client: FlaskClient, query: str) -> None:
    """None of two is taken for the one that was meant, nor is a replacement for a wrong byte."""
    response = client.get("/v1/values", query_string=query)
    assert response.status_code == 400
    assert "The query is wrong" in response.get_json(force=True)["detail"]


def body_of(
    client: FlaskClient, path: str, method: str, operation: dict[str, Any]
) -> dict[str, Any]:
    """The body that the document asks for; a holder's has the token of a lock that is held."""
    if "requestBody" not in operation:
        return {}
    ((media, content),) = operation["requestBody"]["content"].items()
    if media != "application/json":
        return {"data": "{}", "content_type": media}
    body = example(content["schema"])
    if "token" in body:
        body["token"] = client.post(f"/v1/locks/{KEY}").get_json()["token"]
    return {"json": body}


def let_go(client: FlaskClient, sent: dict[str, Any]) -> None:
    """Release the lock that `body_of` has taken."""
    if token := sent.get("json", {}).get("token"):
        client.delete(f"/v1/locks/{KEY}", json={"token": token})


def example(schema: dict[str, Any]) -> Any:
    """A value that a schema allows, with every member."""
    if "$ref" in schema:
        return example(DOCUMENT["components"]["schemas"][schema["$ref"].rpartition("/")[2]])
    if "default" in schema:
        return schema["default"]
    if "enum" in schema:
        return schema["enum"][0]
    if "properties" in schema:
        return {name: example(member) for name, member in schema["properties"].items()}
    if schema.get("type") == "array":
        return [example(each) for each in schema["items"].get("anyOf", [schema["items"]])]
    return {"string": KEY, "integer": 1, "number": 1.5}.get(schema.get("type", ""), {"any": [None]})


@pytest.mark.parametrize(("path", "method", "operation"), OPERATIONS)
def test_examples_are_true(
    client: FlaskClient, path: str, method: str, operation: dict[str, Any]
) -> None:
    """Each is what its schema allows, and what is sent is done; but the token is made up."""
    holders = [operation.get("requestBody", {}), *operation["responses"].values()]
    for holder in holders:
        for content in holder.get("content", {}).values():
            if "example" in content:
                schema = content["schema"] | {"components": DOCUMENT["components"]}
                Draft202012Validator(schema).validate(content["example"])
    if "requestBody" in operation:
        ((media, content),) = operation["requestBody"]["content"].items()
        response = client.open(
            re.sub(r"{\w+}", KEY, path),
            method=method,
            data=json.dumps(content["example"]),
            content_type=media,
        )
        assert response.status_code == (409 if "token" in content["example"] else 200) or (
            response.status_code == 201
        )


@pytest.mark.parametrize("path", ["/openapi.json", "/docs"])
def test_it_is_made_once_and_asked_about_by_its_etag(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    """The second time nothing is made, and who has it already is told so."""
    first = client.get(path)
    monkeypatch.setattr(docs, "document", lambda app: pytest.fail("it is made again"))
    again = client.get(path)
    assert (again.status_code, again.data) == (200, first.data)
    known = client.get(path, headers={"If-None-Match": first.headers["ETag"]})
    assert (known.status_code, known.data) == (304, b"")
    assert client.get(path, headers={"If-None-Match": '"other"'}).data == first.data
    assert first.headers["X-Content-Type-Options"] == "nosniff"
    # Another application has another one.
    other = open_app(DEMO=False).test_client()
    monkeypatch.undo()
    assert other.get(path).headers["ETag"] != first.headers["ETag"]


@pytest.mark.parametrize("config", [{}, {"API_TOKEN": "t"}])
def test_tokens_are_documented(config: dict[str, str]) -> None:
    """All that needs a token where there is one says so; without one of the service's it may."""
    found = open_app(**config).test_client().get("/openapi.json").get_json()
    assert found["components"]["securitySchemes"]["token"]["scheme"] == "bearer"
    for path, methods in found["paths"].items():
        for method, operation in methods.items():
            if method != "parameters":
                is_public = path.startswith("/health/")
                assert ("401" in operation["responses"]) != is_public
                needed = None if is_public else [{"token": []}] + [{}] * (not config)
                assert operation.get("security") == needed
