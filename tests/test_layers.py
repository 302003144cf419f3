"""Imports point one way: app → routes → service → common → sharedstate.cache → its stores."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LIBRARY = sorted((ROOT / "sharedstate").rglob("*.py"))

# The only modules of the library that know Flask.
KNOWS_FLASK = {"cache.py", "limits.py"} | {
    path.name for path in (ROOT / "sharedstate/cli").iterdir()
}
WEB = {"flask", "flask_caching", "werkzeug", "jinja2", "msgspec", "prometheus_client"}
APPLICATION = {"app", "service", "routes", "common", "race", "bench"}


def imported(path: Path) -> set[str]:
    """The absolute names of the modules that a file imports, wherever in it."""
    package = ["", *path.relative_to(ROOT).parent.parts]
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[1 : len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *filter(None, [node.module])])
            found |= {module} | {f"{module}.{alias.name}" for alias in node.names}
    return found


def packages(path: Path) -> set[str]:
    return {name.partition(".")[0] for name in imported(path)}


@pytest.mark.parametrize("path", LIBRARY, ids=lambda path: path.stem)
def test_the_library_knows_nothing_of_the_application(path: Path) -> None:
    """No module of the library imports the application, and few import Flask."""
    assert packages(path) & APPLICATION == set()
    if path.name not in KNOWS_FLASK:
        assert packages(path) & WEB == set()


def test_stores_know_nothing_above_them() -> None:
    """A store imports errors, settings and its own package, not the contract built on it."""
    above = {f"sharedstate.{name}" for name in ("cache", "state", "lock", "codec")}
    for path in (ROOT / "sharedstate" / "stores").glob("*.py"):
        assert imported(path) & above == set(), path


def test_routes_reach_the_state_through_common() -> None:
    """A route knows ``common`` and the library, not the application that registers it."""
    for path in (ROOT / "routes").glob("*.py"):
        assert packages(path) & {"app"} == set(), path
    assert packages(ROOT / "common.py") == {"sharedstate"}
