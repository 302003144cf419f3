"""The README is true: its examples run, and its tables are complete."""

from __future__ import annotations

import re
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, session
from playwright.sync_api import Browser

import app as service
from race.servers.serve import Server, serve
from sharedstate import State
from sharedstate.settings import FLASK_CACHINGS
from sharedstate.stores.registry import ALIASES, SCHEMES, STORES

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with serve("granian", cwd=ROOT, env={"FLASK_CACHE_DIR": str(tmp_path)}) as server:
        yield server


def test_the_python_examples_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The application of the README counts, and each operation it shows does what it says."""
    monkeypatch.setattr(Flask, "auto_find_instance_path", lambda self: str(tmp_path))
    names: dict[str, Any] = {"__name__": "readme"}
    first, second, _, *extensions = blocks("python")
    exec(compile(first, "README.md", "exec"), names)
    app, cache = names["app"], names["cache"]
    answers = [app.test_client().post("/visit").get_json() for _ in range(2)]
    assert answers == [{"you are number": 1}, {"you are number": 2}]
    exec(compile(second, "README.md", "exec"), names)
    values = cache.get_many("motd", "stock", "paid", "tags", "report")
    assert values == ["bye", 8, 50, ["new"], "computed once"]
    for block in extensions:
        exec(compile(block, "README.md", "exec"), names)
    limited = names["app"]
    limited.get("/")(lambda: str(session.setdefault("hits", 1)))
    codes = [limited.test_client().get("/").status_code for _ in range(101)]
    assert codes == [200] * 100 + [429]
    assert sorted(clicks_at_once(limited, 20)) == list(range(2, 22))


def clicks_at_once(app: Flask, number: int) -> list[int]:
    """What a client is told whose requests are all there at the same time, after its first one."""
    client, gate = app.test_client(), threading.Barrier(number)
    client.post("/clicks")
    cookie = client.get_cookie("session")

    def click() -> int:
        own = app.test_client()
        own.set_cookie(cookie.key, cookie.value)
        gate.wait()
        return own.post("/clicks").get_json()["you have clicked"]

    with ThreadPoolExecutor(number) as threads:
        return [done.result() for done in [threads.submit(click) for _ in range(number)]]


@pytest.mark.slow
def test_the_curl_lines_answer_what_they_show(server: Server, tmp_path: Path) -> None:
    """Each curl line of the README gets the answer below it."""
    (session,) = blocks("console")
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
    client = next(block for block in blocks("python") if "urlopen" in block)
    names: dict[str, Any] = {"URL": server.url}
    exec(compile(client, "README.md", "exec"), names)
    assert names["number"] == 1
    again = names["call"](
        "POST", "/v1/counters/orders", {"delta": 1}, Idempotency_Key=names["order"]
    )
    assert again["value"] == 1
    page = chromium.new_page()
    page.goto(server.url)
    (script,) = blocks("js")
    assert page.evaluate(f"async () => {{ const URL = ''; {script} return value; }}") == 2
    page.close()


def test_every_route_is_in_the_table() -> None:
    """Each route and method of the application stands in the README."""
    app = service.create_app({"CACHE_TYPE": "simple"})
    rows = [line for line in README.splitlines() if re.match(r"\| `[A-Z]+`? ", line)]
    for rule in app.url_map.iter_rules():
        if rule.endpoint == "static":
            continue
        path = re.sub(r"<key:(\w+)>", r"{\1}", rule.rule)
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}:
            named = (f"`{method}", f"{path}`")
            assert any(all(name in row for name in named) for row in rows), (method, path)


def test_every_setting_is_in_the_table() -> None:
    """Each setting that the library or the service reads stands in the README."""
    code = "".join(path.read_text() for path in (ROOT / "sharedstate").rglob("*.py"))
    read = set(re.findall(r'"(CACHE_[A-Z_]+[A-Z])"', code))
    read -= {*FLASK_CACHINGS}
    read |= {f"CACHE_REDIS_{name}" for name in ("DB", "PASSWORD", "USERNAME")}
    # What a server that is no service sets, and what Flask has besides.
    read |= {*service.DEFAULTS} - {"WORKERS", "SESSION_COOKIE_NAME"}
    read |= {"MAX_CONTENT_LENGTH", "PERMANENT_SESSION_LIFETIME", "TRUSTED_HOSTS"}
    assert {name for name in read if f"`{name}`" not in README} == set()


def test_every_store_and_operation_is_in_the_tables() -> None:
    """Each store by its names and schemes, and each public operation, stands in the README."""
    names = {*STORES, *ALIASES}
    operations = {name for name, value in vars(State).items() if name[0] != "_" and callable(value)}
    operations -= {"close"}
    assert {name for name in names | operations if not re.search(rf"`{name}\b", README)} == set()
    assert {scheme for scheme in SCHEMES if f"`{scheme}:" not in README} == set()


def test_every_command_exists() -> None:
    """Each ``make`` target that the README names is in the Makefile."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"make ([a-z-]+)", README)) <= targets
