"""Moves state from one store to another, or to a file and back."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from .arguments import checked_key, checked_seconds
from .codec import JSONCodec
from .errors import NotSerializable, SharedStateError
from .state import State
from .stores.operations import NEVER, Add, Put, Record

PAGE_KEYS = 500

# Beside the values: a token that comes again after the move must still be recognized, and a lock's
# fences must grow on. Locks themselves end with their leases.
KEPT_NAMESPACES = ("once", "lock/fence", "compute/fence")

_STRICT = JSONCodec()


@dataclass
class Tally:
    """What a transfer did, or would have done."""

    written: int = 0
    refused: int = 0
    """Keys that were there already and were left as they are."""


def copy(
    source: State,
    target: State,
    prefix: str = "",
    *,
    overwrite: bool = False,
    dry_run: bool = False,
) -> Iterator[Tally]:
    """Copy values, counters and their remaining times; yields the tally after each page.

    Without a prefix, what increments with ``once`` and fences need goes along. What is written to
    the source meanwhile may or may not be copied.
    """
    tally = Tally()
    spaces = [(source, target, prefix)]
    if not prefix:
        spaces += [(source.namespace(n), target.namespace(n), "") for n in KEPT_NAMESPACES]
    for here, there, start in spaces:
        for page in _records(here, start):
            for key, record in page:
                _write(there, key, record, tally, overwrite, dry_run, here.store.clock())
            yield tally


def export(state: State, prefix: str = "") -> Iterator[str]:
    """A JSON line for each key: its value, or the bytes of one that JSON cannot hold."""
    for page in _records(state, prefix):
        for key, (raw, expires) in page:
            line: dict[str, Any] = {"key": key, **_portable(state, raw)}
            if expires != NEVER:
                line["ttl"] = max(expires - state.store.clock(), 0.001)
            yield json.dumps(line, ensure_ascii=False)


def load(
    state: State, lines: Iterable[str], *, overwrite: bool = False, dry_run: bool = False
) -> Iterator[Tally]:
    """Store what :func:`export` wrote; yields the tally after each line.

    :raises SharedStateError: with the number of the line that is wrong; those before it are done.
    """
    tally = Tally()
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            key, raw, ttl = _parse(state, line)
        except (ValueError, TypeError, KeyError, NotSerializable) as error:
            raise SharedStateError(f"line {number} is not one of an export: {error}") from error
        now = state.store.clock()
        record = (raw, now + ttl if ttl else NEVER)
        _write(state, key, record, tally, overwrite, dry_run, now)
        yield tally


def _records(state: State, prefix: str) -> Iterator[list[tuple[str, Record]]]:
    """The live records of a namespace, page by page."""
    start = state.physical_prefix + (checked_key(prefix) if prefix else b"")
    cursor: str | None = None
    while True:
        keys, cursor = state.store.page(start, cursor, PAGE_KEYS)
        found = state.store.read(keys) if keys else []
        yield [
            (key[len(state.physical_prefix) :].decode(), record)
            for key, record in zip(keys, found, strict=True)
            if record is not None
        ]
        if cursor is None:
            return


def _write(
    state: State,
    key: str,
    record: Record,
    tally: Tally,
    overwrite: bool,
    dry_run: bool,
    now: float,
) -> None:
    raw, expires = record
    timeout = 0.0 if expires == NEVER else max(expires - now, 0.001)
    physical = state.physical_prefix + checked_key(key)
    if dry_run:
        is_free = overwrite or state.store.values([physical])[0] is None
    elif overwrite:
        state.store.transact((physical,), Put(raw, timeout))
        is_free = True
    else:
        is_free = state.store.transact((physical,), Add(raw, timeout))
    if is_free:
        tally.written += 1
    else:
        tally.refused += 1


def _portable(state: State, raw: bytes) -> dict[str, Any]:
    try:
        value = state.codec.decode(raw)
        _STRICT.encode(value)
        return {"value": value}
    except NotSerializable:
        return {"bytes": base64.b64encode(raw).decode(), "codec": state.codec.name}


def _parse(state: State, line: str) -> tuple[str, bytes, float]:
    body = json.loads(line)
    key, ttl = body["key"], checked_seconds(body.get("ttl") or 0)
    checked_key(key)
    if "bytes" not in body:
        return key, state.codec.encode(body["value"]), ttl
    if body.get("codec") != state.codec.name:
        raise ValueError(f"its bytes are those of the codec {body.get('codec')!r}")
    try:
        return key, base64.b64decode(body["bytes"], validate=True), ttl
    except binascii.Error as error:
        raise ValueError(f"its bytes are not base64: {error}") from error
