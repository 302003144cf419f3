"""What etcd's refusals mean to those who asked."""

from __future__ import annotations

import json
import time

import pytest

from sharedstate import NotSupported, StoreUnavailable
from sharedstate.stores.etcd.errors import Again, TokenExpired, explained
from sharedstate.stores.etcd.members import Login, Members


@pytest.mark.parametrize(
    "text",
    [
        "etcdserver: request is too large",
        "grpc: received message larger than max (2621684 vs. 2097152)",
    ],
)
def test_too_much_in_one_step(text: str) -> None:
    """What is too large is its own caller's error: the store is there for all others."""
    body = json.dumps({"error": text, "code": 8}).encode()
    with pytest.raises(NotSupported, match="max-request-bytes"):
        raise explained(body, 429, "host:2379")


def test_login_refused_after_a_reply_was_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was sent to a member that did not reply may be done, whatever another one says."""
    errors = [TokenExpired("a"), Again("lost", may_be_applied=True), TokenExpired("b")]

    def post(*_: object) -> object:
        raise errors.pop(0)

    members = Members([("one", 1), ("two", 2)], 10, login=Login("user", "password"))
    monkeypatch.setattr(members, "_post", post)
    monkeypatch.setattr(members, "_authenticate", lambda *_: "token")
    with pytest.raises(StoreUnavailable) as raised:
        members.ask("kv/txn", {}, time.monotonic() + 30)
    assert raised.value.outcome_unknown
