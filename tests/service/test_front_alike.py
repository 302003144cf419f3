"""The front responds as Flask does, to the byte."""

from __future__ import annotations

import random
import re
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from raw_requests import HANGING, RUBBISH, talk
from served import free_port, serving
from two_ways import (
    HOT,
    JSON,
    LINES,
    LOCAL,
    READING,
    TOKEN,
    differences,
    documented,
    generated,
    request,
    ways,
)

from service import hot
from service.server import front
from sharedstate import StoreFull, StoreUnavailable
from sharedstate.stores.memory import MemoryStore

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
            responses = [_VARYING.sub(b"", talk(port, sent, ends=ends)) for port in ports.values()]
            is_lost = (ends or len(sent) > 60_000) and b"" in responses  # See test_hostile.
            assert is_lost or responses[0] == responses[1], sent[:200]


def get(path: bytes) -> bytes:
    return b"GET " + path + b" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


RUBBISH_SENT = [sent for sent, _ in RUBBISH.values()]
# Granian tells to close a connection if it has not read all of a body, which is a matter of time.
_VARYING = re.compile(rb"(?i)^(?:date|x-request-id|connection): .*\r\n", re.MULTILINE)
