"""Real clusters of etcd, whose members can be killed, stopped and started again."""

from __future__ import annotations

import base64
import json
import os
import ssl
import subprocess
import tempfile
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from backends import program
from etcd_partitions import Way, way_to

from race.servers.processes import reserved_port
from sharedstate import State
from sharedstate.codec import JSONCodec
from sharedstate.stores.etcd.store import EtcdStore

MEMBERS = 3

_IN_MEMORY = "/dev/shm"
"""A member syncs each write: on a disk that is what takes the time. None of these tests is about
a power cut, and what is in memory outlives a member that is killed."""

Tls = tuple[str, str] | None
"""The files of a certificate and of its key."""


class Member:
    """One member of a cluster."""

    def __init__(
        self, name: str, port: int, peer_port: int, directory: Path, tls: Tls = None
    ) -> None:
        self.port = port
        self._tls = tls
        self._listens = self.peer = f"http://127.0.0.1:{peer_port}"
        self.way: Way | None = None
        self._name = name
        self._directory = directory
        self._options: tuple[str, ...] = ()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    @property
    def part(self) -> str:
        """What it is in a cluster's list of members."""
        return f"{self._name}={self.peer}"

    def start(self, *options: str) -> None:
        """Start it, or start it again with what is in its directory."""
        self._options = options or self._options
        certificate = ("--cert-file", self._tls[0], "--key-file", self._tls[1]) if self._tls else ()
        with (self._directory / f"{self._name}.log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    program("etcd"),
                    *("--name", self._name, "--data-dir", str(self._directory / self._name)),
                    *("--listen-client-urls", self.url, "--advertise-client-urls", self.url),
                    *(
                        "--listen-peer-urls",
                        self._listens,
                        "--initial-advertise-peer-urls",
                        self.peer,
                    ),
                    *("--logger", "zap", "--log-level", "error", *certificate, *self._options),
                ],
                stdout=log,
                stderr=log,
            )

    def reach_by(self, way: Way, port: int) -> None:
        """Let the others reach it by a way that can be cut."""
        self.way, self.peer = way, f"http://127.0.0.1:{port}"

    def id(self) -> str:
        """Its name among the members, as they write it."""
        return f"{int(self.ask('maintenance/status', {})['header']['member_id']):x}"

    def signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def ask(self, path: str, message: dict[str, Any], seconds: float = 30) -> dict[str, Any]:
        """What it replies, without our client."""
        request = urllib.request.Request(
            f"{self.url}/v3/{path}", json.dumps(message).encode(), method="POST"
        )
        context = ssl.create_default_context(cafile=self._tls[0]) if self._tls else None
        with urllib.request.urlopen(request, timeout=seconds, context=context) as response:
            return json.load(response)

    def value(self, key: str) -> bytes | None:
        """What etcd holds under a name."""
        found = self.ask("kv/range", {"key": base64.b64encode(key.encode()).decode()})
        entries = found.get("kvs", [])
        return base64.b64decode(entries[0]["value"]) if entries else None

    def is_leader(self) -> bool:
        status = self.ask("maintenance/status", {})
        return bool(status["leader"] == status["header"]["member_id"])


class Cluster:
    """Its members."""

    def __init__(self, members: list[Member]) -> None:
        self.members = members

    @property
    def addresses(self) -> list[tuple[str, int]]:
        return [("127.0.0.1", member.port) for member in self.members]

    @property
    def url(self) -> str:
        return "etcd://" + ",".join(f"127.0.0.1:{member.port}" for member in self.members)

    def leader(self) -> Member:
        """The member that leads now; on a busy machine there may be none for a moment."""
        while True:
            for member in self.members:
                if member.is_leader():
                    return member
            threading.Event().wait(0.02)

    def wait(self) -> None:
        """Wait until it does what it is asked."""
        for _ in range(1000):
            try:
                self.members[0].ask("kv/range", {"key": "YQ=="}, seconds=5)
                return
            except OSError:
                threading.Event().wait(0.02)
        raise RuntimeError("the etcd cluster did not become ready")

    def cut_off(self, member: Member) -> None:
        """Let nothing through between a member and the others."""
        name = member.id()
        for one in self.members:
            assert one.way is not None
            one.way.cut(None if one is member else name)

    def mend(self) -> None:
        """Let the members reach each other again."""
        for one in self.members:
            assert one.way is not None
            one.way.mend()

    @contextmanager
    def state(self, **options: Any) -> Iterator[State]:
        """A state on it, without the breaker that settings put before the store.

        A member has to be scheduled for each reply, and the machine may be busy.
        """
        store = EtcdStore(self.addresses, **{"timeout": 30, **options})
        with closing(State(store, codec=JSONCodec(), prefix="test:")) as state:
            yield state


@contextmanager
def etcd_cluster(
    *options: str, size: int = MEMBERS, tls: Tls = None, by_ways: bool = False
) -> Iterator[Cluster]:
    """A running cluster, killed at the end.

    :param by_ways: whether members can be cut off from the others.
    """
    with ExitStack() as stack:
        parent = _IN_MEMORY if os.access(_IN_MEMORY, os.W_OK) else None
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory("-etcd", dir=parent)))
        members = []
        for number in range(size):
            ports = [stack.enter_context(reserved_port()) for _ in range(2)]
            members.append(Member(f"m{number}", *ports, directory, tls))
            if by_ways:
                members[-1].reach_by(*stack.enter_context(way_to(ports[1])))
        whole = ",".join(member.part for member in members)
        for member in members:
            stack.callback(member.kill)
            member.start("--initial-cluster", whole, *options)
        cluster = Cluster(members)
        cluster.wait()
        yield cluster


@pytest.fixture(scope="session")
def etcd_member() -> Iterator[Cluster]:
    """One member of the test session's own, for what does not depend on how many there are."""
    with etcd_cluster(size=1) as cluster:
        yield cluster


@pytest.fixture
def empty_etcd(etcd_member: Cluster) -> Iterator[str]:
    yield etcd_member.url
    # All keys that there are.
    etcd_member.members[0].ask("kv/deleterange", {"key": "AA==", "range_end": "AA=="})
