"""The documentation is true: its examples run, and its tables are complete."""

from __future__ import annotations

import doctest
import re
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from documents import BLOCK, DOCS, LIBRARY, README, ROOT, blocks
from flask import Flask
from playwright.sync_api import Browser

from race.servers.serve import Server, serve
from sharedstate import Cache
from sharedstate.stores.registry import open_store
from sharedstate.testing import MemoryCache, race


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


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("state")


@pytest.fixture(scope="module")
def running(directory: Path) -> Iterator[Server]:
    with serve("granian", cwd=ROOT, env={"FLASK_CACHE_DIR": str(directory)}) as server:
        yield server


@pytest.fixture
def server(running: Server, directory: Path) -> Iterator[Server]:
    """The service, on an empty store."""
    yield running
    store = open_store({"CACHE_TYPE": "filesystem", "CACHE_DIR": str(directory)})
    store.clear(b"")
    store.close()


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
