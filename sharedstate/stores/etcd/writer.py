"""Transactions that may be sent any number of times and are applied once.

A reply can be lost with a member. What it was about may have been applied, may never be, or may
be later: the request can lie in a buffer of a member that is stopped. So each transaction also
writes a key of its writer's own, on the condition that this key is as the writer knows it::

    writer    compare w at 7, write w = "a" ───> applied at 9, reply lost
    writer    the same to another member ──────> refused, w = "a": it was applied, at 9
    buffer    the first once more ─────────────> refused, w is no longer at 7

Revisions of etcd's are never used again, so that no request can be applied twice, however late.
"""

from __future__ import annotations

import secrets
import time
from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

from ...errors import SharedStateError, StoreUnavailable
from .leases import Leases
from .members import Members
from .messages import Message, entries, found, look, put, revision, unchanged

_LEASE_SECONDS = 24 * 3600
_USED_SECONDS = 12 * 3600


class Outcome(NamedTuple):
    """What became of a transaction."""

    was_applied: bool
    revision: int
    """That of what it wrote, if it was applied."""
    looked: list[list[Message]]
    """What was found where it was not applied."""
    has_company: bool = False
    """Whether others have tried to change the same, or something else, in vain meanwhile."""


class _Writer:
    """A key that one transaction at a time changes."""

    __slots__ = ("ends", "key", "lease", "mark", "revision")

    def __init__(self, key: bytes, lease: int, revision: int, ends: float) -> None:
        self.key = key
        self.lease = lease
        self.revision = revision
        self.ends = ends
        self.mark: bytes | None = b""
        """What the key held when it was not as expected."""


class Writers:
    """The writers of this process, each with a lease that removes its key.

    :param prefix: where their keys are.
    :param lost: the key that those write who are not the first to change something.
    """

    def __init__(self, members: Members, leases: Leases, prefix: bytes, lost: bytes) -> None:
        self._members = members
        self._leases = leases
        self._prefix = prefix
        self._lost = lost
        self._lost_at: int | None = 0
        self._idle: deque[_Writer] = deque()

    def commit(
        self,
        compares: Sequence[Message],
        writes: Sequence[Message],
        looks: Sequence[Message],
        deadline: float,
    ) -> Outcome:
        """Do all writes in one step if all compares hold, and look at what is there if not.

        :raises StoreUnavailable: its ``outcome_unknown`` is true if it may have been applied.
        """
        writer = self._writer(deadline)
        # A writer that does not come back here is not used again.
        outcome = self._commit(writer, compares, writes, looks, deadline)
        self._idle.append(writer)
        return outcome

    def _commit(
        self,
        writer: _Writer,
        compares: Sequence[Message],
        writes: Sequence[Message],
        looks: Sequence[Message],
        deadline: float,
    ) -> Outcome:
        mark = secrets.token_hex(8).encode()
        reply, was_resent = self._members.ask(
            "kv/txn",
            {
                "compare": [unchanged(writer.key, writer.revision), *compares],
                "success": [put(writer.key, mark, writer.lease), look(self._lost), *writes],
                "failure": [look(writer.key), put(self._lost, b""), *looks],
            },
            deadline,
        )
        if reply.get("succeeded"):
            writer.revision = revision(reply)
            lost_at = found(entries(reply["responses"][1])).revision
            has_company, self._lost_at = lost_at != self._lost_at, lost_at
            return Outcome(True, writer.revision, [], has_company)
        own, _, *others = reply["responses"]
        mine = found(entries(own))
        looked = list(map(entries, others))
        if mine.value == mark:
            writer.revision = mine.revision or 0
            return Outcome(True, writer.revision, [])
        if mine.revision != writer.revision:
            writer.ends, writer.revision, writer.mark = 0.0, mine.revision or 0, mine.value
            if was_resent:
                raise _unknown("the key of its writer was removed")
        elif was_resent:
            return self._end(writer, mark, looked, deadline)
        return Outcome(False, 0, looked)

    def _end(
        self, writer: _Writer, mark: bytes, looked: list[list[Message]], deadline: float
    ) -> Outcome:
        """See to it that what was sent and is not applied yet never will be."""
        try:
            outcome = self._commit(writer, (), (), (), deadline)
        except SharedStateError as error:
            raise _unknown(str(error)) from error
        if outcome.was_applied:
            return Outcome(False, 0, looked)
        if writer.mark == mark:
            return Outcome(True, writer.revision, [])
        raise _unknown("the key of its writer was removed")

    def _writer(self, deadline: float) -> _Writer:
        now = time.monotonic()
        while self._idle:
            try:
                writer = self._idle.pop()
            except IndexError:
                break
            if writer.ends > now:
                return writer
        key = self._prefix + secrets.token_hex(8).encode()
        lease = self._leases.grant(_LEASE_SECONDS, deadline)
        written = self._members.ask("kv/txn", {"success": [put(key, b"", lease)]}, deadline)
        return _Writer(key, lease, revision(written.message), now + _USED_SECONDS)


def _unknown(reason: str) -> StoreUnavailable:
    return StoreUnavailable(
        f"a member of etcd's did not reply, and what it was sent may have been done: {reason}",
        outcome_unknown=True,
    )
