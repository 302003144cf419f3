"""The load generator: `load.c`, compiled and run.

wrk does not tell its scripts which connection a response came over, and leaves with requests in
flight: neither the order of the numbers nor the total could be checked.
"""

from __future__ import annotations

import shutil
import struct
import subprocess
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import NamedTuple

SOURCE = Path(__file__).with_name("load.c")
SLACK_SECONDS = 30


class Fault(IntEnum):
    """What can be wrong with a response."""

    NONE = 0
    REFUSED = 1
    """Its status is not one of success."""
    OTHER = 2
    """It does not contain what the response to this request has to contain."""
    BROKEN = 3
    """The server closed the connection."""
    UNKNOWN = 4


class Request(NamedTuple):
    """A request, and what the body of its response has to contain."""

    raw: bytes
    expected: bytes


class Plan(NamedTuple):
    """What is sent: the requests in turn, over and over.

    :param marker: stands before the number of each response; empty if they have none.
    """

    requests: Sequence[Request]
    marker: bytes = b""


@dataclass(frozen=True)
class Responses:
    """All responses of a run, in the order in which they came; times in nanoseconds."""

    connections: array[int]
    keys: array[int]
    numbers: array[int]
    faults: array[int]
    began: array[int]
    ended: array[int]
    first_fault: str = ""

    @property
    def seconds(self) -> float:
        """From the first request to the last response."""
        return (max(self.ended) - min(self.began)) / 1e9


class Load:
    """The program, compiled into a directory.

    :raises FileNotFoundError: there is no C compiler.
    """

    def __init__(self, directory: Path) -> None:
        self._program = directory / "load"
        self._plan = directory / "plan"
        self._responses = directory / "responses"
        compiler = shutil.which("cc")
        if compiler is None:
            raise FileNotFoundError("cc")
        subprocess.run([compiler, "-O2", "-o", self._program, SOURCE], check=True)

    def once(self, port: int, plan: Plan) -> Responses:
        """The responses of a server on this machine to each request once."""
        size = len(plan.requests)
        return self.run(port, min(32, size), SLACK_SECONDS, plan, size)

    def run(
        self, port: int, connections: int, seconds: float, plan: Plan, most: int = 1 << 62
    ) -> Responses:
        """The responses of a server on this machine.

        :param most: how many requests are sent at most.
        :raises subprocess.CalledProcessError: not all connections could be opened.
        """
        texts = [plan.marker, *(text for request in plan.requests for text in request)]
        self._plan.write_bytes(b"".join(struct.pack("=I", len(text)) + text for text in texts))
        numbers = (port, connections, round(1000 * seconds), most)
        done = subprocess.run(
            [self._program, *map(str, numbers), self._plan, self._responses],
            stderr=subprocess.PIPE,
            check=True,
            timeout=seconds + SLACK_SECONDS,
        )
        rows = array("q", self._responses.read_bytes())
        return Responses(
            connections=rows[0::6],
            keys=rows[1::6],
            numbers=rows[2::6],
            faults=rows[3::6],
            began=rows[4::6],
            ended=rows[5::6],
            first_fault=done.stderr.decode("latin-1"),
        )


def request(method: str, path: str, expected: str = "", body: str = "") -> Request:
    """A request, with a body of JSON or without one, and with no header more than it needs."""
    headers = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n" if body else ""
    raw = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{headers}\r\n{body}"
    return Request(raw.encode(), expected.encode())
