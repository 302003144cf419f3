"""The OpenAPI document: what the routes' contracts and classes say, in one piece of JSON."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

import msgspec
from flask import Flask
from werkzeug.routing import Rule

from ..access import has_tokens, is_public
from .bodies import JSON
from .errors import PROBLEMS
from .examples import add_examples
from .operation import Contract, Header, Text
from .schemas import Problem
from .schemas.fields import Key

PROBLEM = "application/problem+json"
_REFERENCE = "#/components/schemas/{name}"
_TOKEN = {
    "type": "http",
    "scheme": "bearer",
    "description": "The API_TOKEN, or for reading the API_READ_TOKEN, where the service has them.",
}


def document(app: Flask) -> dict[str, Any]:
    """The application's routes as OpenAPI 3.1."""
    routes = list(_routes(app))
    kinds = _kinds([contract for _, _, contract, _ in routes])
    schemas, components = msgspec.json.schema_components(kinds, ref_template=_REFERENCE)
    known = dict(zip(map(_name, kinds), schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for rule, method, contract, view in routes:
        path = paths.setdefault(_path(rule), {"parameters": _path_parameters(rule, known)})
        path[method.lower()] = _operation(app, rule, method, contract, view, known)
    found: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {
            "title": "sharedstate",
            "version": "1",
            "description": "State that every request shares, exactly.",
        },
        "tags": _tags(app, [rule for rule, *_ in routes]),
        "paths": paths,
        "components": {"schemas": components, "securitySchemes": {"token": _TOKEN}},
    }
    add_examples(found)
    return found


def _tags(app: Flask, rules: list[Rule]) -> list[dict[str, str]]:
    """The groups of routes, each as its module's docstring tells what it is."""
    names = dict.fromkeys(rule.endpoint.partition(".")[0] for rule in rules)
    return [
        {"name": name, "description": _about(app.blueprints[name].import_name)} for name in names
    ]


def _about(module: str) -> str:
    first = (sys.modules[module].__doc__ or "").partition("\n")[0]
    text = first.partition(": ")[2] or first
    return f"{text[:1].upper()}{text[1:]}"


def _routes(app: Flask) -> Iterator[tuple[Rule, str, Contract, Any]]:
    for rule in app.url_map.iter_rules():
        view = app.view_functions[rule.endpoint]
        contract = getattr(view, "contract", None)
        if contract is not None:
            for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
                yield rule, method, contract, view


def _kinds(contracts: list[Contract]) -> list[Any]:
    """All classes that the contracts name, each once."""
    found = [Key, Problem]
    for contract in contracts:
        found += [contract.body.kind] if contract.body else []
        responses = contract.responses.values()
        found += [kind for kind in responses if kind is not None and not isinstance(kind, Text)]
    return list({_name(kind): kind for kind in found}.values())


def _name(kind: Any) -> str:
    return getattr(kind, "__name__", None) or repr(kind)


def _path(rule: Rule) -> str:
    return re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule)


def _operation(
    app: Flask, rule: Rule, method: str, contract: Contract, view: Any, known: dict[str, Any]
) -> dict[str, Any]:
    summary, _, description = inspect.cleandoc(view.__doc__).partition("\n\n")
    found: dict[str, Any] = {
        "operationId": rule.endpoint.replace(".", "_"),
        "tags": [rule.endpoint.partition(".")[0]],
        "summary": summary.rstrip("."),
        "parameters": [*_query(contract, known), *map(_header, contract.headers)],
        "responses": _responses(rule, contract, known),
    }
    if description:
        found["description"] = description
    if contract.body:
        content = {contract.body.media: {"schema": known[_name(contract.body.kind)]}}
        found["requestBody"] = {"required": contract.body.required, "content": content}
    if not is_public(rule.endpoint):
        # Without a token of the service's it is for this machine, which needs none.
        found["security"] = [{"token": []}, *([] if has_tokens(app) else [{}])]
    return found


def _path_parameters(rule: Rule, known: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "path", "required": True, "schema": known[_name(Key)]}
        for name in sorted(rule.arguments)
    ]


def _query(contract: Contract, known: dict[str, Any]) -> list[dict[str, Any]]:
    """A parameter for each member of the query's class."""
    if contract.query is None:
        return []
    _, components = msgspec.json.schema_components([contract.query], ref_template=_REFERENCE)
    members = components[_name(contract.query)]["properties"]
    return [{"name": name, "in": "query", "schema": schema} for name, schema in members.items()]


def _header(header: Header) -> dict[str, Any]:
    pattern = {"pattern": header.pattern} if header.pattern else {}
    return {
        "name": header.name,
        "in": "header",
        "description": header.description,
        "schema": {"type": "string", **pattern},
    }


def _responses(rule: Rule, contract: Contract, known: dict[str, Any]) -> dict[str, Any]:
    found = {
        str(status): _response(status, _content(kind, known))
        for status, kind in contract.responses.items()
    }
    refusal = {PROBLEM: {"schema": known[_name(Problem)]}}
    for status in sorted(_refusals(rule, contract)):
        found.setdefault(str(status), _response(status, refusal))
    return found


def _content(kind: Any, known: dict[str, Any]) -> dict[str, Any]:
    if kind is None:
        return {}
    if isinstance(kind, Text):
        return {media: {"schema": {"type": "string"}} for media in kind.media}
    return {JSON: {"schema": known[_name(kind)]}}


def _response(status: int, content: dict[str, Any]) -> dict[str, Any]:
    response: dict[str, Any] = {"description": HTTPStatus(status).phrase}
    if content:
        response["content"] = content
    return response


def _refusals(rule: Rule, contract: Contract) -> set[int]:
    """The statuses that a route may refuse a request with."""
    found = {each if isinstance(each, int) else PROBLEMS[each][0] for each in contract.refuses}
    found |= {400}  # A query with what is unknown.
    if contract.body:
        found |= {408, 411, 413, 415}
    if not is_public(rule.endpoint):
        # A store that is down; no token; another machine or site, or a token for reading only.
        found |= {503, 401, 403}
    return found
