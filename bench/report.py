"""What both benchmarks print: the machine and its versions, and tables in Markdown."""

from __future__ import annotations

import os
import platform
import shutil
import sqlite3
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from race.servers.programs import PROGRAMS


def surroundings(*, packages: Sequence[str], programs: Sequence[str], directory: Path) -> str:
    """When, on what machine and with which versions; the state lies in `directory`."""
    versions = [_package(name) for name in packages] + [_program(name) for name in programs]
    return "\n".join(
        (
            f"Run at: {datetime.now(UTC):%d %B %Y, %H:%M} UTC  ",
            f"Machine: {_processor()}, {_cores()} cores, {platform.system()} "
            f"{platform.release()}, files on {_filesystem(directory)}  ",
            f"Python: {platform.python_implementation()} {platform.python_version()}, "
            f"SQLite {sqlite3.sqlite_version}  ",
            f"Versions: {', '.join(versions)}",
        )
    )


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table: the first column to the left, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    rule = [("-" * width if i == 0 else "-" * (width - 1) + ":") for i, width in enumerate(widths)]
    lines = [_aligned(header, widths), rule, *(_aligned(row, widths) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def duration(microseconds: float) -> str:
    """A time with the unit and the digits that a reader needs."""
    if microseconds < 1000:
        return f"{_digits(microseconds)} µs"
    if microseconds < 1_000_000:
        return f"{_digits(microseconds / 1000)} ms"
    return f"{microseconds / 1_000_000:.2f} s"


def verdict(met: bool) -> str:
    return "yes" if met else "**no**"


def _digits(number: float) -> str:
    return f"{number:.1f}" if number < 99.95 else f"{number:.0f}"


def _aligned(cells: Sequence[str], widths: Sequence[int]) -> list[str]:
    return [
        cell.ljust(width) if i == 0 else cell.rjust(width)
        for i, (cell, width) in enumerate(zip(cells, widths, strict=True))
    ]


def _package(name: str) -> str:
    try:
        return f"{name} {version(name)}"
    except PackageNotFoundError:
        return f"no {name}"


def _program(name: str) -> str:
    names = PROGRAMS["redis"].names if name == "redis-server" else (name,)
    path = next(filter(None, map(shutil.which, names)), None)
    if path is None:
        return f"no {name}"
    # wrk prints its version with its usage, and fails.
    shown = subprocess.run([path, "--version"], capture_output=True, text=True, check=False)
    words = (shown.stdout or shown.stderr).split()
    found = next((word for word in words if any(map(str.isdigit, word))), "of unknown version")
    return f"{name} {found.removeprefix('v=').removeprefix('debian/')}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _filesystem(directory: Path) -> str:
    """The type of the file system that holds the directory, where the system tells."""
    try:
        mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    except OSError:
        return "an unknown file system"
    path = directory.resolve()
    holding = [mount for mount in mounts if path.is_relative_to(mount[1])]
    return max(holding, key=lambda mount: len(mount[1]))[2]
