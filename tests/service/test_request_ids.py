"""The id that each request has, in its response and in the log."""

from __future__ import annotations

import os
import re

import pytest
from flask import Flask

import app as service
from service.tracing import new_id

OWN_ID = re.compile("[0-9a-f]{12}-[0-9]+")


def make() -> Flask:
    return service.create_app({"CACHE_TYPE": "simple"})


@pytest.mark.parametrize("given", ["abc", "A.b_c-9", "x" * 64])
def test_a_sane_id_is_kept(given: str) -> None:
    """What a balancer has named stays named so."""
    response = make().test_client().get("/health/live", headers={"X-Request-ID": given})
    assert response.headers.getlist("X-Request-ID") == [given]


@pytest.mark.parametrize("given", ["", "x" * 65, "a b", "a,b", "a\tb", "ü", "<script>", "a%0d%0a"])
def test_another_id_is_replaced(given: str) -> None:
    """What could do harm in a log is replaced by an id of our own."""
    environ = {"HTTP_X_REQUEST_ID": given}
    response = make().test_client().get("/health/live", environ_overrides=environ)
    assert OWN_ID.fullmatch(response.headers["X-Request-ID"])


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/v1/counters/a", 200),
        ("DELETE", "/v1/counters/a", 404),
        ("GET", "/v1/values/%00", 400),
        ("GET", "/nope", 404),
        ("BREW", "/health/live", 405),
        ("OPTIONS", "/health/live", 200),
        ("HEAD", "/health/live", 200),
        ("GET", "/metrics", 200),
    ],
)
def test_every_response_has_an_id(method: str, path: str, status: int) -> None:
    """Errors and responses without a body have one too."""
    response = make().test_client().open(path, method=method)
    assert response.status_code == status
    assert OWN_ID.fullmatch(response.headers["X-Request-ID"])


def test_no_two_requests_have_the_same_id() -> None:
    """Ids differ in a process, and between it and a child that it forks."""
    client = make().test_client()
    ids = [client.get("/health/live").headers["X-Request-ID"] for _ in range(100)]
    read, write = os.pipe()
    child = os.fork()
    if not child:
        os.write(write, new_id().encode())
        os._exit(0)
    os.close(write)
    os.waitpid(child, 0)
    with os.fdopen(read) as pipe:
        ids.append(pipe.read())
    ids.append(new_id())
    assert all(map(OWN_ID.fullmatch, ids))
    assert len(set(ids)) == 102
    assert ids[-1].partition("-")[0] == ids[0].partition("-")[0] != ids[-2].partition("-")[0]
