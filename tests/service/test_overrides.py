"""What is overridden of other packages is as it was read."""

from __future__ import annotations

import inspect
import re
from importlib.metadata import version
from pathlib import Path

from granian import _futures


def test_private_parts_are_as_they_were_read() -> None:
    """What has a leading underscore in Granian is there, and is what it was."""
    assert [*inspect.signature(_futures._cbsched_aioschedule).parameters] == ["loop", "ctx", "cb"]


def test_the_version_is_bounded() -> None:
    """requirements.txt allows Granian's minor version that was read, and no later one."""
    text = (Path(__file__).parents[2] / "requirements.txt").read_text()
    bounds = re.search(r"^granian>=(\d+)\.(\d+),<(\d+)\.(\d+)\b", text, re.MULTILINE)
    assert bounds
    major, minor, next_major, following = map(int, bounds.groups())
    assert (next_major, following) == (major, minor + 1)
    assert version("granian").startswith(f"{major}.{minor}.")
