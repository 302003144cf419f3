"""Real Chromium, headless, against the real server, and what its tests share."""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from backends import program
from served import ROOT, ask, environment

from race.servers.processes import reserved_port, running

if TYPE_CHECKING:
    from playwright.sync_api import (
        APIRequestContext,
        Browser,
        BrowserContext,
        ConsoleMessage,
        Locator,
        Page,
        Playwright,
    )

TWO_WORKERS = ("--workers", "2")
DESKTOP = {"width": 1280, "height": 800}
PHONE = {"width": 360, "height": 740}

Visit = Callable[..., "Page"]

# What Chromium itself writes about an answer that is an error.
_FAILED = re.compile(r"Failed to load resource: .*(?:status of (\d+)|net::ERR_CONNECTION)")


@pytest.fixture(scope="module")
def playwright() -> Iterator[Playwright]:
    # Imported here, as all tests load this module. It keeps an event loop running, so it is not
    # left to the tests of other modules.
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=20_000)
    with sync_playwright() as playwright:
        yield playwright


@pytest.fixture(scope="module")
def chromium(playwright: Playwright) -> Iterator[Browser]:
    """The system's Chromium; none is downloaded."""
    path = program("chromium", "chromium-browser", "google-chrome")
    browser = playwright.chromium.launch(executable_path=path)
    yield browser
    browser.close()


@contextmanager
def page_server(*arguments: str, **settings: str) -> Iterator[str]:
    """The address of a running server; two workers on a new directory unless told otherwise."""
    with tempfile.TemporaryDirectory() as directory, reserved_port() as port:
        command = [sys.executable, "app.py", "--port", str(port), *(arguments or TWO_WORKERS)]
        settings = {"CACHE_DIR": directory, **settings}
        with (
            tempfile.TemporaryFile() as log,
            running(command, log, env=environment(**settings), cwd=ROOT),
        ):
            assert ask(port, "GET", "/health/live")[0] == 200
            yield f"http://127.0.0.1:{port}"


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    """The address of a server that the tests of a module share."""
    with page_server() as url:
        yield url


@pytest.fixture
def api(playwright: Playwright, site: str) -> Iterator[APIRequestContext]:
    """A client of the server's API that is no browser; the server holds nothing yet."""
    client = playwright.request.new_context(base_url=site)
    for item in client.get("/v1/values?limit=1000").json()["items"]:
        client.delete(f"/v1/values/{item['key']}")
    yield client
    client.dispose()


@pytest.fixture
def visit(chromium: Browser, site: str) -> Iterator[Visit]:
    """Opens the page in a browser of its own; see :func:`visits`."""
    with visits(chromium, site) as visit:
        yield visit


@contextmanager
def visits(chromium: Browser, url: str) -> Iterator[Visit]:
    """Opens the page, each time in another browser, and holds it against its console.

    ``expected`` are the statuses of errors that a test provokes, 0 for no connection; anything
    else on the console fails it. ``clock`` makes the page's time stand still, until the test lets
    it pass. Everything else is for the browser: its size, colours, ….
    """
    complaints: list[str] = []
    contexts: list[BrowserContext] = []

    def visit(*, expected: tuple[int, ...] = (), clock: bool = False, **options: object) -> Page:
        context = chromium.new_context(**options)  # type: ignore[arg-type]
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda message: complaints.extend(_complaint(message, expected)))
        if clock:
            page.clock.install()
        page.goto(url)
        if clock:
            page.clock.pause_at(page.evaluate("Date.now() / 1000 + 1"))
        return page

    yield visit
    for context in contexts:
        context.close()
    assert complaints == []


def _complaint(message: ConsoleMessage, expected: tuple[int, ...]) -> list[str]:
    failed = _FAILED.match(message.text)
    if message.type not in ("error", "warning") or (failed and int(failed[1] or 0) in expected):
        return []
    return [f"{message.text} ({message.location['url']})"]


def put(api: APIRequestContext, key: str, value: object, ttl: float | None = None) -> None:
    """Store a value, as another client does."""
    answer = api.put(f"/v1/values/{key}", data={"value": value, "ttl": ttl})
    assert answer.ok, answer.text()


def row(page: Page, key: str) -> Locator:
    """The row of the list that a key has."""
    return page.get_by_role("row").filter(has=page.get_by_role("rowheader", name=key, exact=True))


def cell(page: Page, key: str, name: str) -> Locator:
    """The ``value`` or the time when it ``expires``, in the row of a key."""
    return row(page, key).locator(f".{name}")


def hide(page: Page, hidden: bool = True) -> None:
    """Let the page believe that its tab is not shown, or is shown again."""
    page.evaluate(
        """(hidden) => {
          Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
          document.dispatchEvent(new Event("visibilitychange"));
        }""",
        hidden,
    )
