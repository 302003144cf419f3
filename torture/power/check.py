"""Opens what a power cut has left, in a process of its own, which damage may end."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sqlite3
from contextlib import closing
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from sharedstate import SharedStateError, State
from sharedstate.stores.filesystem.store import FILE_NAME

from .client import settings
from .workload import ORDER

CRASHED = "the process that opened it was ended"

_HANG_SECONDS = 120


def opened(directory: Path, store: str, durability: str) -> tuple[dict[str, Any] | None, str]:
    """What the store in a directory holds, or ``None`` and why it cannot be used.

    This process has to have no threads, as it is forked.
    """
    database = directory / "state" / FILE_NAME if store == "filesystem" else None
    # Made here, so that what it imports is imported once.
    state = State.from_settings(settings(directory, store, durability))
    context = multiprocessing.get_context("fork")
    reader, writer = context.Pipe(False)
    child = context.Process(target=_open, args=(writer, state, database))
    child.start()
    writer.close()
    try:
        found: tuple[dict[str, Any] | None, str] = reader.recv()
    except EOFError:
        found = None, CRASHED
    child.join()
    reader.close()
    return (None, f"{CRASHED}, exit code {child.exitcode}") if child.exitcode else found


def _open(pipe: Connection[Any, Any], state: State, database: Path | None) -> None:
    signal.alarm(_HANG_SECONDS)
    # liblmdb says there what it aborts for.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    pipe.send(_answer(state, database))


def _answer(state: State, database: Path | None) -> tuple[dict[str, Any] | None, str]:
    try:
        keys = state.keys()
        found = dict(zip(keys, state.get_many(*keys), strict=True))
        state.inc(ORDER)
    except SharedStateError as error:
        return None, str(error)
    state.close()
    if database is not None:
        with closing(sqlite3.connect(database)) as connection:
            problems = connection.execute("PRAGMA integrity_check").fetchall()
        if problems != [("ok",)]:
            return None, str(problems)
    return found, ""
