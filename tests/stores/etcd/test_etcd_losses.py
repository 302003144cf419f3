"""Requests to etcd that are lost, or come late."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any

import pytest
from etcd_servers import Cluster

from sharedstate import State, StoreUnavailable
from sharedstate.stores.etcd import store as etcd_store
from sharedstate.stores.etcd.errors import Again
from sharedstate.stores.etcd.members import Members

# Requests that are lost, or come late.


class Losing:
    """Sends requests and loses the replies to some; keeps those requests."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.lost: list[tuple[Any, ...]] = []
        self.lose_before = 0
        self.lose_after = 0
        self.post = post = Members._post

        def lose(members: Members, *arguments: Any) -> Any:
            if arguments[1] == "kv/txn":
                if self.lose_before:
                    self.lose_before -= 1
                    self.lost.append((members, *arguments))
                    raise Again("it did not arrive yet", may_be_applied=True)
                if self.lose_after:
                    self.lose_after -= 1
                    post(members, *arguments)
                    raise Again("the reply was lost", may_be_applied=True)
            return post(members, *arguments)

        monkeypatch.setattr(Members, "_post", lose)

    def deliver(self) -> None:
        """Let what was lost before it arrived arrive now."""
        for members, number, path, body, headers, _ in self.lost:
            with suppress(StoreUnavailable):
                self.post(members, number, path, body, headers, time.monotonic() + 10)


@pytest.fixture
def losing(state: State, monkeypatch: pytest.MonkeyPatch) -> Losing:
    state.inc("n")
    state.set("a", 1)
    return Losing(monkeypatch)


def test_lost_replies(state: State, losing: Losing) -> None:
    """A write whose reply was lost was applied once, and its result is known."""
    losing.lose_after = 1
    assert state.inc("n") == 2
    losing.lose_after = 2
    assert state.inc("n") == 3
    losing.lose_after = 1
    assert state.delete("a") is True
    losing.lose_after = 1
    assert state.set("b", 5) is True
    assert state.get_many("n", "a", "b") == [3, None, 5]


def test_late_requests(state: State, losing: Losing) -> None:
    """A request that arrives when it was sent once more and done changes nothing."""
    losing.lose_before = 1
    assert state.inc("n") == 2
    losing.lose_before = 1
    assert state.add("new", 1) is True
    state.delete("new")
    losing.lose_before = 1
    assert state.set("a", 5) is True
    state.set("a", 6)
    losing.deliver()
    assert len(losing.lost) == 3
    assert state.get_many("n", "new", "a") == [2, None, 6]


def test_late_and_refused(
    state: State, losing: Losing, etcd_member: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A late request is void too where somebody else was faster, and has gone since."""
    read = etcd_store.read

    def be_faster(*arguments: Any) -> Any:
        found = read(*arguments)
        monkeypatch.setattr(etcd_store, "read", read)
        with etcd_member.state() as other:
            other.set("new", "another's")
        losing.lose_before = 1
        return found

    monkeypatch.setattr(etcd_store, "read", be_faster)
    assert state.add("new", 1) is False
    with etcd_member.state() as other:
        other.delete("new")
    losing.deliver()
    assert len(losing.lost) == 1
    assert state.get("new") is None
