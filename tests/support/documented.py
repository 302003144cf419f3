"""The service's own description, and the operations that are in it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from flask import Flask

import app as service
from service.contract.openapi import document


def open_app(**config: Any) -> Flask:
    return service.create_app({"TESTING": True, "CACHE_TYPE": "simple", **config})


with open_app().app_context():
    DOCUMENT = json.loads(json.dumps(document(open_app())))

OPERATIONS = [
    pytest.param(path, method, operation, id=operation["operationId"])
    for path, methods in DOCUMENT["paths"].items()
    for method, operation in methods.items()
    if method != "parameters"
]
