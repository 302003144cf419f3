"""The documentation is true: its examples run, and its tables are complete."""

from __future__ import annotations

import doctest
import re
import subprocess
import threading
import time
import tomllib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml
from flask import Flask
from playwright.sync_api import Browser

import app as service
import sharedstate
from race.servers.serve import Server, serve
from service import settings as service_settings
from sharedstate import Cache, State, settings
from sharedstate.cli import state_group
from sharedstate.session.options import TABLE as OF_SESSIONS
from sharedstate.stores.registry import ALIASES, SCHEMES, STORES
from sharedstate.testing import MemoryCache, race

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
README = ROOT / "README.md"
GUIDES = [ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", ROOT / "examples/README.md"]
PAGES = [README, *GUIDES, *sorted(DOCS.rglob("*.md"))]
EVERYTHING = "".join(page.read_text() for page in PAGES)
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
LIBRARY = sorted((DOCS / "library").glob("*.md"))


def blocks(language: str, page: str = "README.md") -> list[str]:
    text = (README if page == "README.md" else DOCS / page).read_text()
    return [code for name, code in BLOCK.findall(text) if name == language]


def run(page: Path, names: dict[str, Any]) -> None:
    """Run a page's ``python`` blocks, and compare what its ``pycon`` blocks show."""
    for language, code in BLOCK.findall(page.read_text()):
        if language == "python":
            exec(compile(code, page.name, "exec"), names)
        elif language == "pycon":
            example = doctest.DocTestParser().get_doctest(code, names, page.name, None, 0)
            runner = doctest.DocTestRunner(verbose=False, optionflags=doctest.ELLIPSIS)
            report: list[str] = []
            runner.run(example, out=report.append, clear_globs=False)
            names.update(example.globs)
            assert not report, "".join(report)


@pytest.fixture
def instance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Applications that a page makes keep their state in a directory of the test's."""
    monkeypatch.setattr(Flask, "auto_find_instance_path", lambda self: str(tmp_path))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with serve("granian", cwd=ROOT, env={"FLASK_CACHE_DIR": str(tmp_path)}) as server:
        yield server


def test_the_readme_is_a_door() -> None:
    """It has at most 150 lines, and its application counts."""
    assert len(README.read_text().splitlines()) <= 150


@pytest.mark.usefixtures("instance")
@pytest.mark.parametrize("page", ["README.md", "quickstart.md"])
def test_the_first_application_counts(page: str) -> None:
    """The application of the README and the quickstart counts."""
    names: dict[str, Any] = {"__name__": "readme"}
    exec(compile(blocks("python", page)[0], page, "exec"), names)
    visit = names["app"].test_client().post
    assert [visit("/visit").get_json()["you are number"] for _ in range(2)] == [1, 2]


@pytest.mark.usefixtures("instance")
def test_the_quickstart_runs() -> None:
    """Each operation that the quickstart shows does what it says."""
    names: dict[str, Any] = {"__name__": "quickstart"}
    run(DOCS / "quickstart.md", names)
    with names["app"].app_context():
        values = names["cache"].get_many("motd", "stock", "paid", "tags", "report")
        assert values == ["bye", 8, 50, ["new"], "computed once"]
    client = names["app"].test_client()
    assert [client.get("/object").text for _ in range(2)] == ["1", "2"]


@pytest.mark.usefixtures("instance")
@pytest.mark.parametrize("page", LIBRARY, ids=lambda page: page.stem)
def test_a_page_of_the_library_runs(page: Path) -> None:
    """The examples of a page run one after the other, and print what it shows."""
    app = Flask("quickstart")
    names: dict[str, Any] = {"__name__": "page", "Flask": Flask, "app": app, "cache": Cache(app)}
    if page.stem in ("rate-limits", "sessions"):  # These only add to the application.
        run(page, names)
    else:
        with app.app_context():
            run(page, names)


def test_the_tests_of_the_page_pass(tmp_path: Path) -> None:
    """The page on testing has tests that pass; they need the plugin."""
    names: dict[str, Any] = {"Flask": Flask, "Cache": Cache}
    for code in blocks("python", "library/testing.md"):
        exec(code, names)
    fixtures = {"tmp_path": tmp_path, "race": race}
    tests = [test for name, test in names.items() if name.startswith("test_")]
    assert len(tests) == 4
    for test in tests:
        wanted = test.__code__.co_varnames[: test.__code__.co_argcount]
        test(**{name: {**fixtures, "shared_cache": MemoryCache()}[name] for name in wanted})


@pytest.mark.usefixtures("instance")
def test_the_limits_of_the_page_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    """Flask-Limiter, and the limits of the library, refuse the request after the last one."""
    monkeypatch.setattr(time, "time", lambda: 1_800_000_000.0)  # No room comes back meanwhile.
    own, _, limits = blocks("python", "library/rate-limits.md")
    app = Flask("quickstart")
    names: dict[str, Any] = {"Flask": Flask, "app": app, "cache": Cache(app)}
    exec(own, names)
    client = app.test_client()
    assert [client.post("/login").status_code for _ in range(6)] == [200] * 5 + [429]
    assert [client.get("/search").status_code for _ in range(101)] == [200] * 100 + [429]
    exec(limits, names)
    limited = names["app"]
    limited.get("/")(lambda: "")
    assert [limited.test_client().get("/").status_code for _ in range(101)] == [200] * 100 + [429]


@pytest.mark.usefixtures("instance")
def test_a_clients_parallel_clicks_are_exact() -> None:
    """Each way of the page on sessions gives a client's parallel requests different numbers."""
    own, revoking, named, theirs = blocks("python", "library/sessions.md")
    import_ = "from flask import session\n"
    ways = [own + revoking, import_ + named, import_ + theirs]
    for way, path in zip(ways, ["/counter", "/mine", "/clicks"], strict=True):
        app = Flask("quickstart")
        exec(way, {"app": app, "cache": Cache(app, config={"CACHE_KEY_PREFIX": path})})
        assert sorted(clicks_at_once(app, path, 20)) == list(range(2, 22))


def clicks_at_once(app: Flask, path: str, number: int) -> list[int]:
    """What a client is told whose requests are all there at the same time, after its first one."""
    client, gate = app.test_client(), threading.Barrier(number)
    client.post(path)
    cookie = client.get_cookie("session")
    assert cookie is not None

    def click() -> int:
        own = app.test_client()
        own.set_cookie(cookie.key, cookie.value)
        gate.wait()
        (clicked,) = own.post(path).get_json().values()
        return int(clicked)

    with ThreadPoolExecutor(number) as threads:
        return [done.result() for done in [threads.submit(click) for _ in range(number)]]


@pytest.mark.slow
@pytest.mark.parametrize("page", ["README.md", "service.md"])
def test_the_curl_lines_return_what_they_show(server: Server, tmp_path: Path, page: str) -> None:
    """Each curl line gets the response below it."""
    session = "".join(blocks("console", page))
    examples = re.findall(r"^\$ (curl .*)\n(.*)\n", session, re.MULTILINE)
    assert len(examples) == session.count("$ ")
    for command, expected in examples:
        command = command.replace("localhost:5000", f"{server.host}:{server.port}")
        done = subprocess.run(
            command, shell=True, capture_output=True, text=True, check=True, cwd=tmp_path
        )
        assert done.stdout.rstrip("\n") == expected, command


@pytest.mark.slow
def test_the_clients_count(server: Server, chromium: Browser) -> None:
    """The client in Python and the one in JavaScript get the next number each, once an order."""
    client = next(block for block in blocks("python", "service.md") if "urlopen" in block)
    names: dict[str, Any] = {"URL": server.url}
    exec(compile(client, "service.md", "exec"), names)
    assert names["number"] == 1
    again = names["call"](
        "POST", "/v1/counters/orders", {"delta": 1}, Idempotency_Key=names["order"]
    )
    assert again["value"] == 1
    page = chromium.new_page()
    page.goto(server.url)
    (script,) = blocks("js", "service.md")
    assert page.evaluate(f"async () => {{ const URL = ''; {script} return value; }}") == 2
    page.close()


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
