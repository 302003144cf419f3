"""What an error of etcd's means to those who asked."""

from __future__ import annotations

import json

from ...errors import (
    ConfigurationError,
    NotSupported,
    SharedStateError,
    StoreFull,
    StoreUnavailable,
)

_INVALID, _NOT_FOUND, _DENIED, _EXHAUSTED, _NOT_IN_STATE = 3, 5, 7, 8, 9
_UNAUTHENTICATED = 16
_NOT_PROPOSED = (
    "etcdserver: no leader",
    "etcdserver: too many requests",
    "etcdserver: not capable",
)


class Again(Exception):
    """The member cannot reply just now, or its reply was lost; another one may.

    :ivar may_be_applied: whether what was asked may have been done, or may yet be.
    """

    def __init__(self, reason: str, *, may_be_applied: bool) -> None:
        super().__init__(reason)
        self.may_be_applied = may_be_applied


class NotReached(Again):
    """Nothing was sent."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason, may_be_applied=False)


class TokenExpired(Exception):
    """The login has to be renewed; nothing was done."""


class LeaseGone(StoreUnavailable):
    """A lease has ended that a record was to have; nothing was done."""


def explained(body: bytes, status: int, where: str) -> Exception:
    """The error for a reply that is none of the expected ones."""
    try:
        reply = json.loads(body)
        code, text = int(reply["code"]), str(reply.get("message") or reply.get("error"))
    except (ValueError, KeyError, TypeError):
        return Again(f"{where} responded with status {status}", may_be_applied=True)
    if code == _UNAUTHENTICATED or "revision of auth store is old" in text:
        return TokenExpired(text)
    if "space exceeded" in text:
        return StoreFull(
            f"etcd at {where} is full ({text}): compact and defragment it, disarm its alarm, and "
            "start it with --auto-compaction-retention"
        )
    if text.startswith(_NOT_PROPOSED):
        return Again(f"{where}: {text}", may_be_applied=False)
    refusal = _refusal(code, text, where)
    return refusal or Again(f"{where}: {text}", may_be_applied=True)


def _refusal(code: int, text: str, where: str) -> SharedStateError | None:
    if code == _NOT_FOUND and "lease" in text:
        return LeaseGone(text)
    if code == _DENIED or "user name is empty" in text or "authentication failed" in text:
        return ConfigurationError(
            f"etcd at {where} refuses this user ({text}): put a user and a password with the role "
            "for these keys into the URL, as in etcd://user:password@host:2379"
        )
    if "too many operations" in text:
        return NotSupported(
            f"etcd at {where} does not change so many keys in one step; its option --max-txn-ops "
            "allows more"
        )
    if "too large" in text or "larger than max" in text:  # The second is its gateway's.
        return NotSupported(
            f"etcd at {where} does not take so many bytes in one step; its option "
            "--max-request-bytes allows more"
        )
    if code in (_INVALID, _EXHAUSTED, _NOT_IN_STATE):
        return StoreUnavailable(f"etcd at {where} refuses: {text}")
    return None
