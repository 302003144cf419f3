"""Moves state from one store to another, or to a file of JSON lines and back."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from ..codec import JSONCodec
from ..errors import NotSerializable, SharedStateError, ValueTooLarge
from ..keyspace.arguments import checked_key, checked_seconds
from ..state import State
from ..stores.operations import NEVER, Add, Put, Record
from .records import Entry, entries, is_fence, physical_key

_STRICT = JSONCodec()
_UNVERIFIED = "pickles without a valid signature"
_PLAIN = (str, int, float, bool, type(None))
MIN_SECONDS = 0.001


@dataclass
class Tally:
    """What a transfer did, or would have done."""

    written: int = 0
    refused: int = 0
    """Keys that were there already and were left as they are."""
    left: dict[str, int] = field(default_factory=dict)
    """How many records of each namespace were left out."""
    removed: int = 0
    """Those of the target that the source had no more."""
    differ: int | None = None
    """Those that were not the same when they were looked at again; ``None`` if nobody looked."""


def copy(
    source: State,
    target: State,
    prefix: str = "",
    *,
    overwrite: bool = False,
    dry_run: bool = False,
) -> Iterator[Tally]:
    """Copy values, counters and their remaining times; yields the tally after each record.

    Without a prefix everything goes along: sessions, locks with their fences, ``once`` tokens.
    With one, only the keys that start with it, and the tally names what was left. A fence of the
    target that is higher than the source's stays, so that fences grow on. What is written to the
    source meanwhile may or may not be copied: see :mod:`.differences`. Pickles are signed on the
    way where the target signs them; where only the source does, the tally names how many had no
    valid signature and were left.
    """
    tally = Tally()
    for entry in selected(source, target, prefix, tally):
        _write(target, entry, tally, overwrite, dry_run)
        yield tally
    yield tally


def selected(source: State, target: State, prefix: str, tally: Tally) -> Iterator[Entry]:
    """What is to be copied, as the target has it; the tally names what is not."""
    start = checked_key(prefix) if prefix else b""
    for entry in entries(source):
        if prefix and (entry.namespace or not entry.key.startswith(start)):
            if entry.namespace:
                _leave(tally, entry.namespace)
            continue
        try:
            yield _translated(source, target, entry)
        except NotSerializable:
            _leave(tally, _UNVERIFIED)


def export(state: State, prefix: str = "", tally: Tally | None = None) -> Iterator[str]:
    """A JSON line for each key: its value, or the bytes of one that JSON cannot hold exactly.

    :param tally: counts what was written and names the namespaces that were left out.
    """
    tally = Tally() if tally is None else tally
    start = checked_key(prefix) if prefix else b""
    for entry in entries(state):
        if entry.namespace:
            _leave(tally, entry.namespace)
        elif entry.key.startswith(start):
            line = _line(state, entry)
            if line is None:
                _leave(tally, "keys that are not text")
                continue
            tally.written += 1
            yield line


def load(
    state: State,
    lines: Iterable[str],
    *,
    overwrite: bool = False,
    dry_run: bool = False,
    trust_pickle: bool = False,
) -> Iterator[Tally]:
    """Store what :func:`export` wrote; yields the tally after each line.

    Every value is decoded and measured before it is stored.

    :param trust_pickle: also take values that are pickles. Reading one runs the code that
        its writer put into it.
    :raises SharedStateError: with the number of the line that is wrong; those before it are done.
    """
    tally = Tally()
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            entry = _parse(state, line, trust_pickle)
        except RecursionError:
            raise SharedStateError(f"line {number} is nested too deeply to be read") from None
        except (ValueError, TypeError, KeyError, NotSerializable) as error:
            raise SharedStateError(f"line {number} cannot be imported: {error}") from error
        _write(state, entry, tally, overwrite, dry_run)
        yield tally


def store_entry(state: State, entry: Entry, *, overwrite: bool) -> bool:
    """Store a record as it is; returns whether it was, or was there already.

    A fence is only ever raised.
    """
    raw, expires = entry.record
    if is_fence(entry):
        space = state.namespace(entry.namespace)
        number = int(raw)
        space.revise(
            entry.key.decode(),
            lambda item: number if item is None else max(item.value, number),
            timeout=0,  # The default timeout is not for it: later locks would begin at 1 again.
        )
        return True
    timeout = 0.0 if expires == NEVER else max(expires - state.store.clock(), MIN_SECONDS)
    physical = physical_key(state, entry)
    if overwrite:
        state.store.transact((physical,), Put(raw, timeout))
        return True
    added: bool = state.store.transact((physical,), Add(raw, timeout))
    return added


def _write(state: State, entry: Entry, tally: Tally, overwrite: bool, dry_run: bool) -> None:
    if dry_run:
        is_free = overwrite or is_fence(entry) or not _is_there(state, entry)
    else:
        is_free = store_entry(state, entry, overwrite=overwrite)
    if is_free:
        tally.written += 1
    else:
        tally.refused += 1


def _translated(source: State, target: State, entry: Entry) -> Entry:
    """The entry as the target's codec has it; raises if it is a pickle that may be forged."""
    if source.codec.signs == target.codec.signs:
        return entry
    raw, expires = entry.record
    return entry._replace(record=(target.codec.sign(source.codec.verify(raw)), expires))


def _is_there(state: State, entry: Entry) -> bool:
    return state.store.values([physical_key(state, entry)])[0] is not None


def _leave(tally: Tally, what: str) -> None:
    tally.left[what] = tally.left.get(what, 0) + 1


def _line(state: State, entry: Entry) -> str | None:
    try:
        key = entry.key.decode()
    except UnicodeDecodeError:
        return None
    raw, expires = entry.record
    line: dict[str, Any] = {"key": key, **_portable(state, raw)}
    if expires != NEVER:
        line["ttl"] = max(expires - state.store.clock(), MIN_SECONDS)
    return json.dumps(line, ensure_ascii=False)


def _portable(state: State, raw: bytes) -> dict[str, Any]:
    try:
        value = state.codec.decode(raw)
        if _is_plain(value):
            _STRICT.encode(value)
            return {"value": value}
    except NotSerializable:
        pass
    return {"bytes": base64.b64encode(raw).decode(), "codec": state.codec.name}


def _is_plain(value: Any) -> bool:
    """Whether a value has exactly the types of JSON: an OrderedDict or an IntEnum has not."""
    waiting = [value]
    while waiting:
        each = waiting.pop()
        if type(each) is dict:
            waiting += [*each.keys(), *each.values()]
        elif type(each) is list:
            waiting += each
        elif type(each) not in _PLAIN:
            return False
    return True


def _parse(state: State, line: str, trust_pickle: bool) -> Entry:
    body = json.loads(line)
    key, ttl = checked_key(body["key"]), checked_seconds(body.get("ttl") or 0)
    raw = _raw(state, body, trust_pickle) if "bytes" in body else state.codec.encode(body["value"])
    if len(raw) > state.max_value_bytes:
        raise ValueTooLarge(len(raw), state.max_value_bytes)
    record: Record = (raw, state.store.clock() + ttl if ttl else NEVER)
    return Entry("", key, record)


def _raw(state: State, body: Any, trust_pickle: bool) -> bytes:
    codec, own = body.get("codec"), state.codec
    if not own.takes(codec):
        raise ValueError(f"its bytes are those of the codec {codec!r}, not {own.name!r}")
    try:
        raw = base64.b64decode(body["bytes"], validate=True)
    except binascii.Error as error:
        raise ValueError(f"its bytes are not base64: {error}") from error
    is_own = codec == own.name
    if (own.runs_code or not is_own) and not trust_pickle:
        raise ValueError(
            f"its value has the codec {codec!r}, which may run code of its writer; "
            "--trust-pickle takes it all the same"
        )
    raw = raw if is_own else own.sign(raw)
    own.decode(raw)
    return raw
