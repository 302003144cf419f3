"""Types as the users of the library see them."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from backends import give_up
from fetch_flask_caching import SOURCE

import sharedstate

ROOT = Path(__file__).parents[2]
MYPY = [sys.executable, "-m", "mypy"]


def mypy(path: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        # For the Python of our own configuration, so that what `make check` has cached is used.
        [*MYPY, "--config-file=", "--strict", "--python-version=3.11", str(path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )


@pytest.mark.slow
def test_decorators_and_operations_keep_their_types() -> None:
    """``mypy --strict`` passes on an application, and finds what is wrong in it."""
    done = mypy(ROOT / "tests" / "support" / "typed_application.py")
    assert done.returncode == 0, done.stdout


@pytest.mark.slow
def test_the_types_are_flask_cachings(tmp_path: Path) -> None:
    """What Flask-Caching checks of its decorators' types holds for ours."""
    if not SOURCE.is_dir():
        give_up("Flask-Caching's tests are not there")
    (theirs,) = (SOURCE / "tests" / "typing").glob("*.py")
    path = tmp_path / "memoize_typing.py"
    path.write_text(theirs.read_text().replace("from flask_caching", "from sharedstate"))
    done = mypy(path)
    assert done.returncode == 0, done.stdout


def test_the_version_is_that_of_the_changelog() -> None:
    """``__version__`` is the newest one in the list of changes."""
    newest = re.search(r"^## ([0-9.]+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest is not None
    assert newest[1] == sharedstate.__version__
