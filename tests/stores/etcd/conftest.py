"""Fixtures of the tests of the etcd store."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from etcd_servers import Cluster

from sharedstate import State
from sharedstate.stores.etcd.members import Members


@pytest.fixture
def state(empty_etcd: str, etcd_member: Cluster) -> Iterator[State]:
    with etcd_member.state() as state:
        yield state


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The paths of all requests from now on, as they are sent."""
    paths: list[str] = []
    post = Members._post

    def count(self: Members, number: int, path: str, *arguments: Any) -> Any:
        paths.append(path)
        return post(self, number, path, *arguments)

    monkeypatch.setattr(Members, "_post", count)
    return paths
