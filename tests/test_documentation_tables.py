"""The documentation names all there is: routes, settings, operations, commands, files."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from documents import DOCS, EVERYTHING, PAGES, README, ROOT

import app as service
import sharedstate
from service import settings as service_settings
from sharedstate import State, settings
from sharedstate.cli import state_group
from sharedstate.session.options import TABLE as OF_SESSIONS
from sharedstate.stores.registry import ALIASES, SCHEMES, STORES


def test_every_route_is_in_the_table() -> None:
    """Each route and method of the application stands in the page on the service."""
    app = service.create_app({"CACHE_TYPE": "simple"})
    rows = [
        line
        for line in (DOCS / "service.md").read_text().splitlines()
        if re.match(r"\| `[A-Z]+`? ", line)
    ]
    for rule in app.url_map.iter_rules():
        if rule.endpoint == "static":
            continue
        path = re.sub(r"<key:(\w+)>", r"{\1}", rule.rule)
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}:
            named = (f"`{method}", f"{path}`")
            assert any(all(name in row for name in named) for row in rows), (method, path)


def test_every_setting_is_in_the_table() -> None:
    """Each setting that the library or the service reads stands in the page of settings."""
    page = (DOCS / "settings.md").read_text()
    for table in (settings.table(), OF_SESSIONS, service_settings.table()):
        assert settings.markdown(table) in page, "write it again: python docs/write_settings.py"


def test_every_store_and_operation_is_in_the_tables() -> None:
    """Each store by its names and schemes, and each public operation, has its place."""
    stores = (DOCS / "stores.md").read_text()
    assert {name for name in {*STORES, *ALIASES} if f"`{name}`" not in stores} == set()
    assert {name for name in STORES if f"`{name}`" not in README.read_text()} == set()
    schemes = (DOCS / "settings.md").read_text()
    assert {scheme for scheme in SCHEMES if f"`{scheme}:" not in schemes} == set()
    operations = {n for n in dir(State) if n[0] != "_" and callable(getattr(State, n))}
    table = (DOCS / "library/index.md").read_text()
    missing = {
        name
        for name in operations - {"close", "from_settings"}
        if not re.search(rf"`{name}\b", table)
    }
    assert missing == set()


def test_every_public_name_is_in_the_reference() -> None:
    """What the library exports has an entry, and errors their place in the tree."""
    reference = (DOCS / "reference.md").read_text()
    entries = set(re.findall(r"^\.\. auto\w+:: (\w+)$", reference, re.MULTILINE))
    assert entries == {*sharedstate.__all__}
    methods = {*re.findall(r"^\.\. automethod:: State\.(\w+)$", reference, re.MULTILINE)}
    assert methods == {n for n in dir(State) if n[0] != "_" and callable(getattr(State, n))}
    tree = (DOCS / "library/errors.md").read_text()
    errors = {name for name in sharedstate.__all__ if isinstance(_exported(name), type)}
    errors = {name for name in errors if issubclass(_exported(name), sharedstate.SharedStateError)}
    assert {name for name in errors if not re.search(rf"\b{name}\b", tree)} == set()


def _exported(name: str) -> Any:
    return getattr(sharedstate, name)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_link_and_file_exists(page: Path) -> None:
    """What a page links to, and each file of the project that it names, is there."""
    text = page.read_text()
    for target in re.findall(r"\]\(([^)#:\s]+)(?:#[\w-]+)?\)|(?:src|srcset)=\"([^\"]+)\"", text):
        assert (page.parent / (target[0] or target[1])).exists(), target
    tops = (
        "app.py|common.py|bench|deploy|docs|examples|race|routes|service|sharedstate|static|tests"
    )
    for name in re.findall(rf"(?<![\w./])((?:{tops})/[\w./-]*\w/?)(?![\w*])", text):
        assert "NAME" in name or (ROOT / name).exists(), name


def test_every_command_of_flask_state_is_in_the_table() -> None:
    """Each command that an application gets stands in the page on commands."""
    commands = (DOCS / "commands.md").read_text()
    assert {name for name in state_group.commands if f"`{name}`" not in commands} == set()
    assert {*re.findall(r"app state (\w+)", EVERYTHING)} <= {*state_group.commands}


def test_every_command_exists() -> None:
    """Each ``make`` target that a page names is in the Makefile."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"(?:`|^)make ([a-z-]+)", EVERYTHING, re.MULTILINE)) <= targets


def test_the_workflow_tests_every_python() -> None:
    """The matrix has the versions that the package says it supports."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        classifiers = tomllib.load(file)["project"]["classifiers"]
    said = re.findall(r"Python :: (3\.\d+)", "\n".join(classifiers))
    workflow = yaml.safe_load((ROOT / ".github/workflows/tests.yaml").read_text())
    assert workflow["jobs"]["test"]["strategy"]["matrix"]["python"] == said


def test_pre_commit_has_the_same_ruff() -> None:
    """Its ruff is of the minor version that ``make check`` runs."""
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    (rev,) = [repo["rev"] for repo in hooks if repo["repo"].endswith("ruff-pre-commit")]
    required = (ROOT / "tests/requirements.txt").read_text()
    assert f"ruff=={rev[1:].rpartition('.')[0]}.*" in required


def test_the_figures_of_the_readme_are_those_of_the_page() -> None:
    """Each figure in the README's table of speed stands in the page on performance."""
    speed = README.read_text().partition("## How fast")[2].partition("\n## ")[0]
    rows = [row for row in speed.splitlines() if row.startswith("|")][2:]
    figures = [cell.strip() for row in rows for cell in row.split("|")[2:-1]]
    performance = (DOCS / "performance.md").read_text()
    assert figures
    assert [figure for figure in figures if f" {figure} |" not in performance] == []
