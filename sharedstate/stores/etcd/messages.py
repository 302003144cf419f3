"""What is sent to etcd's JSON gateway and comes back: bytes as base64, numbers as text."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from ...errors import NotSerializable
from ..operations import NEVER, Record

Message = dict[str, Any]

_MARK = b"@"


class Found(NamedTuple):
    """What a key holds, and when that changed last."""

    value: bytes | None
    expires: float
    revision: int | None
    """0 for a key that is not there, ``None`` where that does not matter."""
    lease: int

    def live(self, now: float) -> Record | None:
        """The record, unless it has ended."""
        if self.value is None or self.expires <= now:
            return None
        return self.value, self.expires


MISSING = Found(None, 0, 0, 0)
ANYTHING = Found(None, 0, None, 0)
"""For a key that is written whatever it holds."""


def to_text(record: Record) -> bytes:
    """What etcd holds for a record: the bare value, behind its end if it has one."""
    value, expires = record
    if expires == NEVER and not value.startswith(_MARK):
        return value
    return b"@%r %s" % (expires, value)


def from_text(text: bytes) -> Record:
    """The record that etcd holds.

    :raises NotSerializable: if it was not written by this store.
    """
    if not text.startswith(_MARK):
        return text, NEVER
    end, space, value = text[1:].partition(b" ")
    try:
        expires = float(end)
    except ValueError:
        space = b""
    if not space:
        raise NotSerializable("the key holds something that was not written by this store, in etcd")
    return value, expires


def text(raw: bytes) -> str:
    """Bytes as the gateway wants them."""
    return b64encode(raw).decode()


def raw(text: str) -> bytes:
    """Bytes as the gateway sends them."""
    return b64decode(text)


def put(key: bytes, value: bytes, lease: int = 0) -> Message:
    """Writes a key."""
    message: Message = {"key": text(key), "value": text(value)}
    if lease:
        message["lease"] = str(lease)
    return {"request_put": message}


def delete(key: bytes, end: bytes | None = None) -> Message:
    """Removes a key, or those from it and before ``end``."""
    return {"request_delete_range": _span(key, end)}


def look(key: bytes, revision: int = 0) -> Message:
    """Reads a key, as it was at a revision or is."""
    message = _span(key, None)
    if revision:
        message["revision"] = str(revision)
    return {"request_range": message}


def together(steps: Sequence[Message]) -> Message:
    """Several steps as one."""
    return {"request_txn": {"success": list(steps)}}


def unchanged(key: bytes, revision: int) -> Message:
    """Whether a key was changed last at this revision; 0: whether it is not there."""
    return {"target": "MOD", "key": text(key), "mod_revision": str(revision)}


def none_after(first: bytes, end: bytes, revision: int) -> Message:
    """Whether all keys that are in this range were changed last at this revision or before."""
    return {
        "target": "MOD",
        "result": "LESS",
        "mod_revision": str(revision + 1),
        **_span(first, end),
    }


def span(first: bytes, end: bytes, limit: int, *, keys_only: bool = True) -> Message:
    """Lists the first keys of a range."""
    return {**_span(first, end), "limit": str(limit), "keys_only": keys_only}


def _span(first: bytes, end: bytes | None) -> Message:
    return {"key": text(first)} if end is None else {"key": text(first), "range_end": text(end)}


def found(entries: Iterable[Message]) -> Found:
    """The one record among the entries that a range returned, if there is one."""
    for entry in entries:
        value, expires = from_text(raw(entry.get("value", "")))
        return Found(value, expires, int(entry["mod_revision"]), int(entry.get("lease", 0)))
    return MISSING


def entries(response: Message) -> list[Message]:
    """What one range of a transaction returned."""
    some: list[Message] = response["response_range"].get("kvs", [])
    return some


def revision(reply: Message) -> int:
    """The revision of etcd when it replied."""
    return int(reply["header"]["revision"])
