"""Reads records, and says what a transaction compares and writes to change them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, TypeVar

from ..operations import Records
from .leases import Leases
from .members import Members
from .messages import (
    Found,
    Message,
    delete,
    entries,
    found,
    look,
    none_after,
    put,
    revision,
    to_text,
    together,
    unchanged,
)

T = TypeVar("T")

EXACT = 120
"""Of so many keys each is compared: etcd's --max-txn-ops is 128 unless it is started otherwise."""

_STEP = 60
_READ = 64
_KEEP = 64


class View(NamedTuple):
    """What was found under some keys."""

    found: list[Found]
    at: int
    """The revision of etcd at which it was read at one moment, where that is known."""
    is_certain: bool
    """Whether it was so after the operation had begun, or does not matter."""


def read(members: Members, keys: Sequence[bytes], deadline: float) -> tuple[list[Found], int]:
    """What the keys hold at one moment, and the revision of etcd at that moment."""
    if len(keys) == 1:
        reply = members.ask("kv/range", look(keys[0])["request_range"], deadline).message
        return [found(reply.get("kvs", ()))], revision(reply)
    seen: list[Found] = []
    at = 0
    for some in parts(keys, _READ):
        message = {"success": [look(key, at) for key in some]}
        reply = members.ask("kv/txn", message, deadline).message
        at = at or revision(reply)
        seen += [found(entries(response)) for response in reply["responses"]]
    return seen, at


def conditions(keys: Sequence[bytes], view: View, deleted: bytes) -> list[Message]:
    """Whether all keys are as they were found.

    There is room for 128 conditions: more than so many keys are compared by ranges, in which
    nobody else may write meanwhile, and none may be removed.

    :param deleted: the key that each transaction writes that removes others.
    """
    pairs = [
        (key, one.revision)
        for key, one in zip(keys, view.found, strict=True)
        if one.revision is not None
    ]
    if len(pairs) <= EXACT:
        return [unchanged(*pair) for pair in pairs]
    ordered = sorted(key for key, _ in pairs)
    width = -(-len(ordered) // _STEP)
    ranges = [none_after(some[0], some[-1] + b"\0", view.at) for some in parts(ordered, width)]
    return [*ranges, none_after(deleted, deleted + b"\0", view.at)]


class Changes:
    """What is written to replace records.

    :param keys: where they are.
    :param present: what was found there.
    :param live: the records that were found, without those that have ended.
    :param after: what is to be there.
    """

    def __init__(
        self, keys: Sequence[bytes], present: Sequence[Found], live: Records, after: Records
    ) -> None:
        rows = zip(keys, present, live, after, strict=True)
        # One that has ended and comes back as None is left to its lease.
        self._rows = [(key, old, new) for key, old, was, new in rows if new is not was]

    def __bool__(self) -> bool:
        return bool(self._rows)

    def writes(self, leases: Leases, now: float, deadline: float, deleted: bytes) -> list[Message]:
        """The steps of the transaction.

        :param deleted: is written too where something is removed.
        """
        steps = [self._write(*row, leases, now, deadline) for row in self._rows]
        if any(new is None for _, _, new in self._rows):
            steps.append(put(deleted, b""))
        if len(steps) > EXACT:
            steps = [together(some) for some in parts(steps, _STEP)]
        return steps

    def known(self, revision: int) -> Iterator[tuple[bytes, Found | None]]:
        """What the keys hold after it, for those where that is short; ``None`` for the others."""
        for key, _, new in self._rows:
            is_short = new is not None and len(new[0]) <= _KEEP
            yield key, Found(*new, revision, 0) if new is not None and is_short else None

    @staticmethod
    def _write(
        key: bytes,
        old: Found,
        new: tuple[bytes, float] | None,
        leases: Leases,
        now: float,
        deadline: float,
    ) -> Message:
        if new is None:
            return delete(key)
        expires = new[1]
        if expires == float("inf"):
            return put(key, to_text(new))
        lease = old.lease if old.lease and old.expires == expires else 0
        return put(key, to_text(new), lease or leases.until(expires, now, deadline))


def parts(whole: Sequence[T], size: int) -> Iterable[Sequence[T]]:
    """The sequence in pieces of a size."""
    return (whole[first : first + size] for first in range(0, len(whole), size))
