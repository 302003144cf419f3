"""The structure: imports point one way, and each thing has its place.

app → routes → service → common → cache → state → one store; a store is ``base``, ``operations``
and its own folder.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("routes", "service", "sharedstate", "race", "bench", "torture")
FILES = sorted(
    [ROOT / "app.py", ROOT / "common.py"]
    + [path for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
)
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in FILES
}

# Each may import those after it.
LAYERS = ("app", "routes", "service", "common", "sharedstate")
# Of the library, each may import those after it and what stands beside it.
LIBRARY = (
    {"session", "testing"},
    {"cache"},
    {"backend", "cli", "jobs", "limits", "objects"},
    {"state"},
    {"locks"},
    {"keyspace"},
    {"stores"},
    {"codec", "errors", "settings"},
)
WEB = {"flask", "flask_caching", "werkzeug", "jinja2", "msgspec", "prometheus_client"}
KNOWS_FLASK = (
    *("sharedstate.cache", "sharedstate.cli", "sharedstate.limits", "sharedstate.session"),
    *("sharedstate.backend.application", "sharedstate.backend.decorators"),
    "sharedstate.jobs.idempotent",
    "sharedstate.testing",
)
USES_MSGSPEC = ("sharedstate.codec.", "sharedstate.stores.manager.")
# The file that may use what other packages keep private; it says what each is worth.
OVERRIDES = ("service.overrides",)
# A static response has to take the way that the service's responses take.
THE_SAME_WAY = {"bench.http.limit": {"service.overrides"}}
# The store that the manager's process holds its records in.
SHARED_STORES = {"sharedstate.stores.memory"}


@cache
def imports(module: str) -> tuple[str, ...]:
    """The names that a module imports, wherever in it: ``sharedstate.errors.StoreFull``."""
    return tuple(_imports(module))


def _imports(module: str) -> Iterator[str]:
    path = MODULES[module]
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package.split(".")[: len(package.split(".")) - node.level + 1]
            start = ".".join([*(base if node.level else []), *filter(None, [node.module])])
            yield from (f"{start}.{alias.name}" for alias in node.names)


def imported(module: str) -> set[str]:
    """The modules of this project that a module imports."""
    found = {name if name in MODULES else name.rpartition(".")[0] for name in imports(module)}
    return (found & MODULES.keys()) - {module}


def outside(module: str) -> set[str]:
    """The top-level packages of others that a module imports."""
    tops = {name.partition(".")[0] for name in imports(module)}
    return tops - sys.stdlib_module_names - {name.partition(".")[0] for name in MODULES}


def top(module: str, level: int = 0) -> str:
    return (module.split(".") + [""] * level)[level]


def test_no_circle() -> None:
    """No module imports itself, through however many others."""
    try:
        TopologicalSorter({module: imported(module) for module in MODULES}).prepare()
    except CycleError as error:
        pytest.fail(" → ".join(error.args[1]))


def test_imports_point_one_way() -> None:
    """A module imports its own layer and those below it; nobody imports ``app``."""
    for module in MODULES:
        found = imported(module)
        if top(module) in LAYERS:
            allowed = {*LAYERS[LAYERS.index(top(module)) :]} - {"app"}
        else:  # The proofs and the benchmarks use the service as its clients do.
            found -= THE_SAME_WAY.get(module, set())
            allowed = {top(module), "race", "sharedstate"}
        assert {top(name) for name in found} <= allowed, module


def test_the_library_points_one_way() -> None:
    """Inside the library too; only what integrates with Flask knows it."""
    for module in filter(_is_of_the_library, MODULES):
        below: set[str] = set()
        for layer in reversed(LIBRARY):
            if top(module, 1) in layer:
                allowed = below | layer | {""}
                assert {top(name, 1) for name in imported(module)} <= allowed, module
            below |= layer
        if not module.startswith(KNOWS_FLASK):
            known = WEB - {"msgspec"} if module.startswith(USES_MSGSPEC) else WEB
            assert not outside(module) & known, module


def test_the_library_is_drawn_as_it_is() -> None:
    """The picture in the documentation has each part of the library, layer by layer."""
    parts = {top(name, 1) for name in MODULES if top(name) == "sharedstate"} - {""}
    assert parts == {part for layer in LIBRARY for part in layer}
    page = (ROOT / "docs/how-it-works.md").read_text()
    picture = page.partition("each line imports those below")[2].split("```")[1]
    drawn = [re.findall(r"([a-z]+)(?:/|\.py)", line) for line in picture.splitlines()[1:]]
    assert list(map(set, drawn)) == list(LIBRARY)


def test_a_store_is_its_own_folder() -> None:
    """A store's folder imports what all stores share, and no other store."""
    stores = {path.parent.name for path in (ROOT / "sharedstate/stores").glob("*/store.py")}
    for module in filter(_is_of_the_library, MODULES):
        folder = top(module, 2)
        if top(module, 1) == "stores" and folder in stores:
            others = {name for name in imported(module) if top(name, 2) in stores - {folder}}
            assert others - SHARED_STORES == set(), module
            assert "sharedstate.stores.registry" not in imported(module), module


def test_private_names_stay_in_the_overrides() -> None:
    """What another package keeps private is used in the file that lists it."""
    for module in MODULES.keys() - OVERRIDES:
        packages = outside(module) - {"_typeshed"}
        for name in imports(module):
            if top(name) in packages:
                assert not any(part.startswith("_") for part in name.split(".")), (module, name)


def test_a_file_can_be_read() -> None:
    """No file has more than 300 lines, and an ``__init__`` has names and nothing else."""
    for path in MODULES.values():
        text = path.read_text()
        assert len(text.splitlines()) <= 300, path
        if path.name == "__init__.py" and path.parent.name != "routes":
            for node in ast.parse(text).body:
                assert isinstance(node, (ast.Import, ast.ImportFrom, ast.Assign, ast.Expr)), path


def test_a_folder_can_be_taken_in() -> None:
    """A folder of the product shows at most 16 names, the stores' at most 15."""
    for folder in {path.parent for path in FILES} - {ROOT}:
        names = [path for path in folder.iterdir() if path.suffix == ".py" or _is_package(path)]
        assert len(names) <= (15 if folder.name == "stores" else 16), folder


def _is_package(path: Path) -> bool:
    return path.is_dir() and path.name != "__pycache__"


def _is_of_the_library(module: str) -> bool:
    return top(module) == "sharedstate"
