"""A client of ``/v1/locks``, as a process: prints each time that it holds the lock, for a while.

``python lock_client.py HOST PORT TURNS`` prints a line of JSON when it has the lock and one before
it releases it; with ``forever`` as TURNS it never releases the lock that it gets, whose lease is
short.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from http.client import HTTPConnection
from typing import Any

LEASE = 1
# Longer than any process has to wait for the processor.
LONG_LEASE = 600


def main(host: str, port: str, turns: str) -> None:
    connection = HTTPConnection(host, int(port), timeout=60)
    is_forever = turns == "forever"
    for _ in range(1 if is_forever else int(turns)):
        asked, lock = acquire(connection, LEASE if is_forever else LONG_LEASE)
        say(event="holds", fence=lock["fence"], asked=asked, since=time.monotonic())
        if is_forever:
            sys.stdin.read()
        say(event="releases", fence=lock["fence"], until=time.monotonic())
        ask(connection, "DELETE", {"token": lock["token"]})


def acquire(connection: HTTPConnection, lease: int) -> tuple[float, Any]:
    """When the lock was asked for, and the lock."""
    while True:
        asked = time.monotonic()
        status, body = ask(connection, "POST", {"lease": lease})
        if status == 201:
            return asked, body
        assert status == 409, (status, body)
        threading.Event().wait(0.01)  # The others need the processor too.


def ask(connection: HTTPConnection, method: str, body: dict[str, Any]) -> tuple[int, Any]:
    headers = {"Content-Type": "application/json"}
    connection.request(method, "/v1/locks/job", json.dumps(body), headers)
    response = connection.getresponse()
    raw = response.read()
    return response.status, json.loads(raw) if raw else None


def say(**event: Any) -> None:
    print(json.dumps(event), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
