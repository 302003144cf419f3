"""What the command lines of ``race`` and ``torture`` share."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import Path
from types import FrameType
from typing import NoReturn

INTERRUPTED = 130
"""The exit code after Ctrl-C, as shells have it."""


def positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


def new_file(text: str) -> Path:
    path = Path(text)
    if not path.absolute().parent.is_dir():
        raise argparse.ArgumentTypeError("its directory does not exist")
    return path


def matching(patterns: Iterable[str], names: Iterable[str]) -> list[str]:
    """The names that match, in the order of the patterns, each once.

    :raises SystemExit: a pattern matches none.
    """
    known = list(names)
    found: dict[str, None] = {}
    for pattern in patterns:
        matches = [name for name in known if fnmatchcase(name, pattern)]
        if not matches:
            sys.exit(f"there is no {pattern!r}; there are: {', '.join(known)}")
        found |= dict.fromkeys(matches)
    return list(found)


def interrupt_at_sigterm() -> None:
    """Let SIGTERM stop everything from now on, as Ctrl-C does."""
    signal.signal(signal.SIGTERM, _interrupt)


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt
