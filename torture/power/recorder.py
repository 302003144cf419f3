"""Records what a program writes and syncs: `record.c`, compiled and preloaded.

strace sees the same without a compiler. It stops the program twice a call, which takes some 50 µs,
and its text has to be parsed; and two processes that write at once are printed in the order in
which strace hears of them. The library writes one binary log, in the order in which things were
done, and lets no file system's real sync take any time.
"""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
from collections.abc import Sequence
from enum import IntEnum
from pathlib import Path
from typing import NamedTuple

SOURCE = Path(__file__).with_name("record.c")

_RECORD = struct.Struct("=qqqq")
_HANG_SECONDS = 600


class Kind(IntEnum):
    """What was done, with the numbers of `record.c`."""

    OPEN = 0
    MKDIR = 1
    RENAME = 2
    UNLINK = 3
    WRITE = 4
    WRITE_SYNCED = 5
    """A write of a descriptor that was opened with ``O_DSYNC``."""
    TRUNCATE = 6
    EXTEND = 7
    SYNC = 8
    MAP = 9


class Event(NamedTuple):
    """One thing that was done.

    :param offset: where a write begins; the new size; of an opened file, whether it was emptied.
    :param data: what was written, or the paths, with a zero byte between two.
    """

    kind: Kind
    inode: int
    offset: int
    data: bytes


class NoCompiler(Exception):
    """There is no C compiler."""


def record(program: Sequence[str | Path], root: Path, log: Path) -> list[Event]:
    """What a program and its children do below a directory, in the order in which it is done.

    :param root: the directory, an absolute path without links; the first event makes it.
    :param log: where the log is put, and the library beside it.
    :raises NoCompiler: there is none.
    :raises subprocess.CalledProcessError: the program failed.
    """
    path = os.fsencode(root)
    log.write_bytes(_RECORD.pack(Kind.MKDIR, root.stat().st_ino, 0, len(path)) + path)
    environment = os.environ | {
        "LD_PRELOAD": str(_library(log.with_name("record.so"))),
        "RECORD_ROOT": str(root),
        "RECORD_LOG": str(log),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    subprocess.run(program, env=environment, check=True, timeout=_HANG_SECONDS)
    return events(log.read_bytes())


def events(raw: bytes) -> list[Event]:
    """The events of a log."""
    found = []
    at = 0
    while at < len(raw):
        kind, inode, offset, length = _RECORD.unpack_from(raw, at)
        at += _RECORD.size
        found.append(Event(Kind(kind), inode, offset, raw[at : at + length]))
        at += length
    return found


def _library(path: Path) -> Path:
    if not path.exists():
        compiler = shutil.which("cc")
        if compiler is None:
            raise NoCompiler("python -m torture.power needs a C compiler (cc)")
        options = ("-O2", "-shared", "-fPIC", "-o", path)
        subprocess.run([compiler, *options, SOURCE, "-ldl"], check=True)
    return path
