"""Cheap requests for much: real workers stay small, whatever a client asks for."""

from __future__ import annotations

import http.client
import json
import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from served import ask, free_port, serving

MIB = 1 << 20
VALUES = 32
# Four values of 1 MiB a response, as bytes, as objects, as JSON and as what is sent.
ROOM = 64 * MIB
STORES = ["filesystem", "redis"]


class Service:
    """A running service, and the process of its only worker."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.worker = json.loads(self.ask("GET", "/v1/store")[1])["worker"]

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, bytes]:
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)) as connection:
            sent = None if body is None else json.dumps(body)
            connection.request(method, path, sent, {"Content-Type": "application/json"})
            response = connection.getresponse()
            self.headers = response.headers
            return response.status, response.read()

    def run(self, operations: list[dict[str, Any]], **options: Any) -> tuple[int, Any]:
        status, raw = self.ask("POST", "/v1/batch", {"operations": operations, **options})
        return status, json.loads(raw)

    def rewind(self) -> None:
        """Forget how large the worker has been."""
        Path(f"/proc/{self.worker}/clear_refs").write_text("5")
        self.before = self._peak()

    def grown(self) -> int:
        """How many bytes the worker has grown by since then, at most."""
        return self._peak() - self.before

    def _peak(self) -> int:
        status = Path(f"/proc/{self.worker}/status").read_text()
        return 1024 * int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0])


@pytest.fixture(params=STORES)
def service(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Service]:
    """One worker on a store that holds 32 values of 1 MiB."""
    settings = {"CACHE_TYPE": request.param, "CACHE_DIR": str(tmp_path)}
    if request.param == "redis":
        settings["CACHE_URL"] = request.getfixturevalue("empty_redis")
    port = free_port()
    with serving(port, "--workers", "1", **settings):
        assert ask(port, "GET", "/health/ready")[0] == 200
        service = Service(port)
        for number in range(VALUES):
            value = {"value": "x" * (MIB - 2)}
            assert service.ask("PUT", f"/v1/values/large{number:02}", value)[0] == 201
        yield service


@pytest.mark.slow
def test_no_request_takes_more_than_its_share(service: Service) -> None:
    """Batches and listings of large values end at the bound, and so does the worker's memory."""
    _head_of_a_listing_reads_next_to_nothing(service)
    service.rewind()
    again = [{"op": "inc", "key": "made"}, *[{"op": "get", "key": "large00"}] * 999]
    status, problem = service.run(again)
    assert (status, problem["type"]) == (413, "urn:sharedstate:result-too-large")
    assert problem["operation"] == 5
    assert service.ask("GET", "/v1/counters/made")[0] == 404

    status, response = service.run(again, atomic=False)
    assert (status, response["results"][0]["value"]) == (200, 1)
    assert [result["status"] for result in response["results"][1:6]] == [200] * 4 + [413]

    every = [{"op": "get", "key": f"large{number:02}"} for number in range(VALUES)]
    assert service.run(every)[0] == 413

    keys, path = [], "/v1/values?prefix=large&limit=1000"
    cursor = ""
    while cursor is not None:
        status, raw = service.ask("GET", path + (f"&cursor={cursor}" if cursor else ""))
        assert status == 200 and len(raw) < 5 * MIB
        page = json.loads(raw)
        keys += [item["key"] for item in page["items"]]
        cursor = page["next"]
    assert sorted(set(keys)) == [f"large{number:02}" for number in range(VALUES)]
    assert service.grown() < ROOM


def _head_of_a_listing_reads_next_to_nothing(service: Service) -> None:
    """It says that there is one, and nothing of what is in it."""
    service.rewind()
    assert service.ask("HEAD", "/v1/values?limit=1000") == (200, b"")
    assert service.headers["Content-Type"] == "application/json"
    assert service.headers["Content-Length"] is None and service.headers["ETag"] is None
    assert service.grown() < 8 * MIB
    assert service.ask("HEAD", "/v1/values?cursor=zz")[0] == 400
