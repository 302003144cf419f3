"""Real Chromium, headless, against the real server, and what its tests share."""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import pytest
from backends import program
from served import ROOT, ask, environment

from race.servers.processes import reserved_port, running

if TYPE_CHECKING:
    from playwright.sync_api import (
        APIRequestContext,
        Browser,
        ConsoleMessage,
        Error,
        Locator,
        Page,
        Playwright,
    )

ONE_WORKER, TWO_WORKERS = ("--workers", "1"), ("--workers", "2")
DESKTOP = {"width": 1280, "height": 800}
PHONE = {"width": 360, "height": 740}

# After ten seconds the page gives a request up: too soon for a hundred of them on a busy machine.
PATIENT = """{
  const timeout = AbortSignal.timeout.bind(AbortSignal);
  AbortSignal.timeout = (milliseconds) => timeout(10 * milliseconds);
}"""

Visit = Callable[..., "Page"]

# What Chromium itself writes about a response that is an error.
_FAILED = re.compile(r"Failed to load resource: .*(?:status of (\d+)|net::ERR_CONNECTION)")


@pytest.fixture(scope="module")
def playwright() -> Iterator[Playwright]:
    # Imported here, as all tests load this module. It keeps an event loop running, so it is not
    # left to the tests of other modules.
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=30_000)
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


@pytest.fixture(scope="session")
def site() -> Iterator[str]:
    """The address of a server that all tests of the page share."""
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


class Tabs:
    """Two tabs that the tests of a module have one after the other: a new one costs a second.

    In one of them time stands still.
    """

    def __init__(self, chromium: Browser) -> None:
        self._chromium = chromium
        self._tabs: dict[bool, Page] = {}

    def get(self, clock: bool) -> Page:
        if clock not in self._tabs:
            self._tabs[clock] = _new_page(self._chromium, clock)
        return self._tabs[clock]

    def empty(self) -> None:
        """Leave nothing of a test to the next."""
        for page in self._tabs.values():
            page.unroute_all(behavior="ignoreErrors")
            hide(page)  # So that it asks for nothing; another address would cost as much as a test.
            page.context.clear_cookies()
            for other in page.context.pages:
                if other is not page:
                    other.close()

    def close(self) -> None:
        for page in self._tabs.values():
            page.context.close()


@pytest.fixture(scope="module")
def tabs(chromium: Browser) -> Iterator[Tabs]:
    """See :class:`Tabs`."""
    tabs = Tabs(chromium)
    yield tabs
    tabs.close()


@pytest.fixture
def visit(chromium: Browser, site: str, tabs: Tabs) -> Iterator[Visit]:
    """Opens the page in a browser of its own; see :func:`visits`."""
    with visits(chromium, site, tabs) as visit:
        yield visit
    tabs.empty()


@contextmanager
def visits(chromium: Browser, url: str, tabs: Tabs | None = None) -> Iterator[Visit]:
    """Opens the page, each time in another browser, and holds it against its console.

    ``expected`` are the statuses of errors that a test provokes, 0 for no connection; anything
    else on the console fails it. ``clock`` makes the page's time stand still, until the test lets
    it pass. Everything else is for the browser: its size, colours, ….

    :param tabs: the first page without anything else is opened in one of these.
    """
    complaints: list[str] = []
    opened: list[Page] = []

    def visit(*, expected: tuple[int, ...] = (), clock: bool = False, **options: object) -> Page:
        tab = tabs.get(clock) if tabs and not options else None
        page = tab if tab and tab not in opened else _new_page(chromium, clock, **options)
        stack.callback(_listen(page, complaints, expected))
        if page is not tab:
            stack.callback(page.context.close)
        opened.append(page)
        page.goto(url)
        return page

    with ExitStack() as stack:
        yield visit
    assert complaints == []


def _new_page(chromium: Browser, clock: bool, **options: object) -> Page:
    page = chromium.new_context(**options).new_page()  # type: ignore[arg-type]
    page.add_init_script(PATIENT)
    if clock:
        page.clock.install()
        # Nothing has begun to wait here, so that an hour more or less is nothing.
        page.clock.pause_at(page.evaluate("Date.now() / 1000 + 3600"))
    return page


def _listen(page: Page, complaints: list[str], expected: tuple[int, ...]) -> Callable[[], None]:
    """Collect what goes wrong in a page, until what is returned is called."""

    def failed(error: Error) -> None:
        complaints.append(str(error))

    def said(message: ConsoleMessage) -> None:
        complaints.extend(_complaint(message, expected))

    page.on("pageerror", failed)
    page.on("console", said)

    def stop() -> None:
        page.remove_listener("pageerror", failed)
        page.remove_listener("console", said)

    return stop


def _complaint(message: ConsoleMessage, expected: tuple[int, ...]) -> list[str]:
    failed = _FAILED.match(message.text)
    if message.type not in ("error", "warning") or (failed and int(failed[1] or 0) in expected):
        return []
    return [f"{message.text} ({message.location['url']})"]


def put(api: APIRequestContext, key: str, value: object, ttl: float | None = None) -> None:
    """Store a value, as another client does."""
    response = api.put(f"/v1/values/{key}", data={"value": value, "ttl": ttl})
    assert response.ok, response.text()


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
