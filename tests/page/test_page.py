"""The page in real browsers, against the real server with two workers."""

from __future__ import annotations

import re
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from browsers import DESKTOP, ONE_WORKER, PHONE, Visit, cell, hide, page_server, put, visits
from playwright.sync_api import (
    APIRequestContext,
    Browser,
    Locator,
    Page,
    Playwright,
    TimeoutError,
    expect,
)
from redis_servers import redis_server

import app as service
from race.servers.processes import reserved_port

pytestmark = pytest.mark.slow

MOST_SECONDS = 400  # Guards against a hang, and nothing else.


def test_the_policy_allows_nothing_but_files_of_the_service() -> None:
    """The page's policy has no inline script or style, and no other host."""
    client = service.create_app({"CACHE_TYPE": "simple"}).test_client()
    page = client.get("/")
    policy = page.headers["Content-Security-Policy"]
    assert "unsafe" not in policy and "http" not in policy and "*" not in policy
    directives = dict(part.split(" ", 1) for part in policy.split("; "))
    assert directives["default-src"] == directives["base-uri"] == "'none'"
    assert directives["script-src"] == directives["style-src"] == "'self'"
    assert not re.search(r"\sstyle=|\son\w+=|<script(?! type=\"module\" src=)|<style", page.text)
    assert page.headers["Cache-Control"] == "no-cache"
    assert client.get("/", headers={"If-None-Match": page.headers["ETag"]}).status_code == 304
    with client.get("/static/page.js") as script:
        assert script.headers["X-Content-Type-Options"] == "nosniff"
        assert script.mimetype == "text/javascript"


def test_the_page_asks_no_other_host(visit: Visit, site: str) -> None:
    """Everything that the page loads comes from the server itself."""
    page = visit()
    expect(page.locator("#ready")).to_have_text("Ready")
    names = page.evaluate("performance.getEntriesByType('resource').map((entry) => entry.name)")
    assert len(names) > 10
    assert {urlsplit(name).netloc for name in names} == {urlsplit(site).netloc}


def test_now_shows_the_store_and_who_answered(visit: Visit, api: APIRequestContext) -> None:
    """The first section has the store, its size, whether it is ready, and the worker's process."""
    put(api, "motd", "hello")
    page = visit()
    for name, text in {
        "type": "filesystem",
        "scope": "all processes of this host",
        "durability": "normal",
        "entries": re.compile("^[1-9]"),
        "size": re.compile("^[1-9].* [KM]iB"),
    }.items():
        expect(page.locator(f"#store-{name}")).to_have_text(text)
    expect(page.locator("#ready")).to_have_text("Ready")
    answered = page.locator("#worker")
    expect(answered).to_have_text(re.compile(r"^process \d+.*, of 2 workers × 1 thread$"))
    process = re.findall(r"\d+", answered.inner_text())[0]
    # Its parent is the parent of whoever responds now.
    workers = {process, str(api.get("/v1/store").json()["worker"])}
    parents = {
        Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1] for pid in workers
    }
    assert len(parents) == 1


def test_now_shows_how_fast_it_responds(visit: Visit) -> None:
    """Requests a second and p99 are measured and drawn, of the page's own requests too."""
    page = visit()
    rate, latency = page.locator("#rate"), page.locator("#latency")
    expect(rate.locator("path.line")).to_have_count(1)
    expect(rate.locator("output")).to_have_text(re.compile(r"^\d+(\.\d)?$"))
    expect(latency.locator("output")).to_have_text(LATENCY)
    for chart, numbers in ((rate, r"Now [\d.]*[1-9]"), (latency, r"Now [\d.]*[1-9].* ms")):
        named = re.compile(rf"^{numbers}.*, at most [\d.]*[1-9]")
        expect(chart.get_by_role("img", name=named)).to_be_visible()
    expect(rate.locator(".scale span")).to_have_text([*RATES, "0/s"])
    expect(latency.locator(".scale span")).to_have_text([LATENCY, LATENCY, "0 ms"])
    expect(rate.locator(".times")).to_have_text("3 min agonow")


LATENCY = re.compile(r"^[\d.,]+ ms$")
RATES = [re.compile(r"^[\d.]*[125]0*/s$"), re.compile(r"^[\d.,]+/s$")]


def test_the_scale_of_a_chart_is_a_round_number(visit: Visit) -> None:
    """The upper edge is the next 1, 2 or 5 with zeros, no point is above it, and 0 is below."""
    tops = visit().evaluate(
        """async (highest) => {
          const { draw, scale } = await import("/static/chart.js");
          const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
          return highest.map((y) => {
            const points = [{ at: 0, y: null }, { at: 1, y }, { at: 2, y: 0 }];
            draw(svg, points, 2, scale(points), "");
            return [scale(points), svg.querySelector("path.line").getAttribute("d")];
          });
        }""",
        [0, 0.9, 2, 3.1, 60, 0.004],
    )
    assert [top for top, _ in tops] == pytest.approx([1, 1, 2, 5, 100, 0.005])
    assert tops[2][1] == "M150.0 0.0L300.0 90.0"
    assert tops[4][1] == "M150.0 36.0L300.0 90.0"


def test_the_page_reads_prometheus_text(visit: Visit) -> None:
    """The rate and p99 are those of the requests between two readings, of all routes together."""
    page = visit()
    name = "sharedstate_http_request_duration_seconds"

    def text(*counts: int) -> str:
        lines = [f"# TYPE {name} histogram"]
        for route in "ab":
            for bound, count in zip(("0.1", "0.2", "+Inf"), counts, strict=True):
                lines.append(f'{name}_bucket{{le="{bound}",route="{route}"}} {count}.0')
            lines.append(f'{name}_count{{route="{route}"}} {counts[-1]}.0')
        return "\n".join(lines)

    measure = """async ([older, newer]) => {
      const { between, read } = await import("/static/metrics.js");
      return between(read(older), read(newer), 4);
    }"""
    past = page.evaluate(measure, [text(5, 5, 5), text(85, 105, 105)])
    assert past == {"rate": 50, "p99": pytest.approx(0.195)}
    assert page.evaluate(measure, [text(5, 5, 5), text(5, 5, 5)]) == {"rate": 0, "p99": None}
    assert page.evaluate(measure, [text(5, 5, 5), text(5, 5, 105)])["p99"] == 0.2
    assert page.evaluate(measure, [text(5, 5, 5), text(1, 1, 1)]) is None


def test_without_metrics_the_page_says_so(visit: Visit) -> None:
    """Where workers count the requests each for itself, the charts are empty; it is no outage."""
    page = visit(expected=(501,))
    page.route("**/metrics", lambda route: route.fulfill(status=501))
    page.reload()
    expect(page.locator("#rate output")).to_have_text("not available")
    expect(page.locator("#latency output")).to_have_text("not available")
    expect(page.locator("#store-type")).to_have_text("filesystem")
    expect(page.locator("#banner")).to_be_empty()


def test_a_hidden_tab_asks_nothing(visit: Visit, api: APIRequestContext) -> None:
    """Polls stop in a hidden tab; when it is shown again, they ask at once."""
    page = visit(clock=True)
    expect(page.locator("#items-state")).to_have_text("Nothing here yet.")
    hide(page)
    page.clock.run_for(10_000)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.clock.run_for(60_000)
    assert asked == []
    with page.expect_request("**/v1/values?*"):
        hide(page, False)


def test_two_browsers_count_apart(visit: Visit) -> None:
    """Each browser has a counter of its own, the same in its tabs, to raise, lower and reset."""
    first, second = visit(), visit()
    for page, clicks in ((first, 3), (second, 1)):
        expect(page.locator("#clicks")).to_have_text("0")
        more = page.get_by_role("button", name="+1, your own counter")
        # So fast that the browser has no cookie yet when it clicks again.
        more.evaluate("(button, clicks) => { while (clicks--) button.click(); }", clicks)
        expect(page.locator("#clicks")).to_have_text(str(clicks))
    first.get_by_role("button", name="−1, your own counter").click()
    expect(first.locator("#clicks")).to_have_text("2")
    tab = first.context.new_page()
    tab.goto(first.url)
    expect(tab.locator("#clicks")).to_have_text("2")
    tab.get_by_role("button", name="Reset").click()
    expect(first.locator("#clicks")).to_have_text("0")
    second.reload()
    expect(second.locator("#clicks")).to_have_text("1")


def test_the_page_recovers_when_the_store_does(
    tmp_path: Path,
    playwright: Playwright,
    chromium: Browser,
) -> None:
    """While the store is away a banner says so; when it is back the page goes on by itself."""
    with ExitStack() as stack:
        port = stack.enter_context(reserved_port())
        options = ("--save", "", "--appendonly", "yes", "--appendfsync", "always")

        def start_redis() -> ExitStack:
            running = ExitStack()
            stack.push(running)
            running.enter_context(redis_server(tmp_path, *options, port=port))
            return running

        redis = start_redis()
        settings = {"CACHE_URL": f"redis://127.0.0.1:{port}"}
        url = stack.enter_context(page_server(*ONE_WORKER, **settings))
        visit = stack.enter_context(visits(chromium, url))
        api = playwright.request.new_context(base_url=url)
        put(api, "motd", "hello")
        page = visit(expected=(503,), clock=True)
        expect(cell(page, "motd", "value")).to_have_text('"hello"')
        redis.close()
        banner = page.get_by_role("alert").filter(has_text="The store is not available.")
        _pass_time(page, until=banner)
        _pass_time(page, until=page.get_by_text(re.compile("^Not ready")))
        expect(cell(page, "motd", "value")).to_have_text('"hello"')
        page.get_by_role("button", name="Delete motd").click()
        expect(page.locator("#message")).to_contain_text("The store cannot be used now")
        start_redis()
        _pass_time(page, until=page.locator("#banner:empty"), state="attached")
        _pass_time(page, until=page.get_by_text("Ready", exact=True))
        put(api, "motd", "again")
        _pass_time(page, until=cell(page, "motd", "value").filter(has_text='"again"'))
        api.dispose()


def _pass_time(page: Page, until: Locator, state: Literal["visible", "attached"] = "visible"):
    """Let second after second pass for the page, until it shows what it has to show."""
    for _ in range(MOST_SECONDS):
        page.clock.run_for(1000)
        with suppress(TimeoutError):
            return until.wait_for(state=state, timeout=100)
    raise AssertionError(f"{until} is not there")


def test_axe_finds_nothing(visit: Visit, api: APIRequestContext) -> None:
    """The page with all its parts, and its dialog, have no violation; nothing is cut off."""
    put(api, "visits", 41)
    put(api, "a/rather-long-key/" + "x" * 60, {"text": "word" * 50}, 3600)
    page = visit(viewport=DESKTOP, color_scheme="dark")
    page.locator("#counter").get_by_role("button", name="Send 100 requests").click()
    expect(page.locator("#counter .verdict")).not_to_be_empty()
    page.get_by_role("button", name="Delete visits").click()
    expect(page.get_by_role("button", name="Undo")).to_be_visible()
    assert violations(page) == ""
    page.emulate_media(color_scheme="light")
    assert violations(page, "color-contrast") == ""
    for size in (DESKTOP, PHONE):
        page.set_viewport_size(size)
        assert page.evaluate("document.documentElement.scrollWidth") == size["width"]
    page.get_by_role("button", name="Edit a/rather").click()
    page.get_by_label("Value, as JSON").fill("nonsense")
    page.get_by_role("button", name="Save").click()
    put(api, "a/rather-long-key/" + "x" * 60, {"text": "another"})
    expect(page.get_by_text("Somebody else has changed it")).to_be_visible()
    assert violations(page) == ""
    page.emulate_media(color_scheme="dark")
    assert violations(page, "color-contrast") == ""


def violations(page: Page, *rules: str) -> str:
    """What axe-core has to say by these rules; by all if there are none, the best practices too."""
    # Colours that fade into each other are not those that anybody reads.
    page.evaluate("Promise.allSettled(document.getAnimations().map((one) => one.finished))")
    options: dict[str, object] = {"resultTypes": ["violations"]}  # What passed takes a second.
    results = Axe().run(page, options=options | ({"runOnly": list(rules)} if rules else {}))
    return results.generate_report() if results.violations_count else ""
