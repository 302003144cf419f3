"""A file that holds all of a state, to restore it from.

Copying a store's own files does not do: SQLite's ``-wal`` of the old file would be replayed into
the restored one, and a process that has the old file open would go on with it. A backup holds
records, and restoring stores them through the store, so that it also leads to another store.

The file has a JSON line for what it is, one for each record, and one with their number and hash,
so that a file that was cut short is refused before anything is changed.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from ..errors import SharedStateError
from ..state import State
from ..stores.operations import NEVER
from .records import Entry, counts, entries, is_fence, placed, prefix_of
from .transfer import store_entry

FORMAT = "sharedstate backup 1"


def backup(state: State, path: Path) -> int:
    """Write all records of the state to a file, private to this user; returns how many.

    The file is there when it is complete, or not at all. It holds the state of one moment on
    stores whose ``snapshot_is_atomic`` is true; on others each record as it was when it was read.

    :raises OSError: if the file cannot be written.
    """
    header = {
        "format": FORMAT,
        "store": state.store.name,
        "codec": state.codec.name,
        "one_moment": state.store.snapshot_is_atomic,
    }
    number, digest = 0, hashlib.sha256()
    with _replacing(path) as file:
        file.write(f"{json.dumps(header)}\n")
        for entry in placed(state, state.store.snapshot()):
            line = _line(entry)
            digest.update(line.encode())
            file.write(line)
            number += 1
        file.write(f"{json.dumps({'records': number, 'sha256': digest.hexdigest()})}\n")
    return number


def restore(
    state: State, path: Path, *, overwrite: bool = False, trust_pickle: bool = False
) -> int:
    """Store what :func:`backup` wrote; returns how many records that were.

    Records that have expired meanwhile are left out, and a fence that is higher than the
    backup's stays.

    :param overwrite: remove everything that the state holds first.
    :param trust_pickle: also restore values of a codec that runs code when they are read.
    :raises SharedStateError: if the file is not a whole backup, or the state is not empty; nothing
        was changed then.
    """
    must_sign = check(state, path, trust_pickle=trust_pickle)
    _make_empty(state, overwrite)
    restored = 0
    now = state.store.clock()
    for entry in _read(path):
        raw, expires = entry.record
        if expires > now:
            if must_sign:
                entry = entry._replace(record=(state.codec.sign(raw), expires))
            store_entry(state, entry, overwrite=True)
            restored += 1
    return restored


def _make_empty(state: State, overwrite: bool) -> None:
    found = next((entry for entry in entries(state) if not is_fence(entry)), None)
    if found is None:
        return
    if not overwrite:
        raise SharedStateError(
            "the state is not empty; nothing was restored: --overwrite removes all of it first"
        )
    for namespace in counts(state):
        if not is_fence(Entry(namespace, b"", (b"", NEVER))):
            state.store.clear(prefix_of(state, namespace))
    state.clear()


def check(state: State, path: Path, *, trust_pickle: bool = False) -> bool:
    """Raise :exc:`SharedStateError` unless a file is a whole backup that fits the state.

    :returns: whether its pickles have to be signed.
    """
    digest, number = hashlib.sha256(), 0
    trailer: Any = None
    codec, own = "", state.codec
    for position, line in enumerate(_lines(path)):
        body = _parsed(line, path)
        if position == 0:
            codec = _codec_of(state, body, path)
        elif "records" in body:
            trailer = body
        elif trailer is not None:
            raise _incomplete(path)
        else:
            raw = _entry(body, path).record[0]
            may_run = (own.runs_code or codec != own.name) and raw.startswith(b"!")
            if may_run and not trust_pickle:
                raise SharedStateError(
                    f"{path} holds values of the codec {codec!r}, which may run code of "
                    "those who wrote the file; --trust-pickle restores them all the same"
                )
            digest.update(line.encode())
            number += 1
    if trailer != {"records": number, "sha256": digest.hexdigest()}:
        raise _incomplete(path)
    return codec != own.name


def _codec_of(state: State, header: Any, path: Path) -> str:
    """The name of the codec of its values; refuses a file that is not for this state."""
    if header.get("format") != FORMAT:
        raise SharedStateError(f"{path} is not a backup that this version can read")
    codec = str(header.get("codec"))
    if not state.codec.takes(codec):
        raise SharedStateError(
            f"{path} was written with the codec {codec!r}, and CACHE_CODEC here is "
            f"{state.codec.name!r}: set the same"
        )
    return codec


def _read(path: Path) -> Iterator[Entry]:
    for position, line in enumerate(_lines(path)):
        body = _parsed(line, path)
        if position and "records" not in body:
            yield _entry(body, path)


def _lines(path: Path) -> Iterator[str]:
    try:
        with path.open(encoding="utf-8") as file:
            yield from file
    except UnicodeDecodeError:
        raise _incomplete(path) from None


def _parsed(line: str, path: Path) -> dict[str, Any]:
    try:
        body = json.loads(line)
    except (ValueError, RecursionError):
        raise _incomplete(path) from None
    if not isinstance(body, dict):
        raise _incomplete(path)
    return body


def _line(entry: Entry) -> str:
    raw, expires = entry.record
    body: dict[str, Any] = {"namespace": entry.namespace} if entry.namespace else {}
    body |= {"key": _text(entry.key), "value": _text(raw)}
    if expires != NEVER:
        body["expires"] = expires
    return f"{json.dumps(body)}\n"


def _entry(body: dict[str, Any], path: Path) -> Entry:
    try:
        key, value = base64.b64decode(body["key"]), base64.b64decode(body["value"])
        expires = float(body.get("expires", NEVER))
    except (KeyError, TypeError, ValueError):
        raise _incomplete(path) from None
    return Entry(str(body.get("namespace", "")), key, (value, expires))


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def _incomplete(path: Path) -> SharedStateError:
    return SharedStateError(
        f"{path} is not a whole backup: it was cut short or changed; nothing was restored"
    )


@contextmanager
def _replacing(path: Path) -> Iterator[TextIO]:
    """A new file, mode 0600, that takes its place when the block has ended without an error."""
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise
