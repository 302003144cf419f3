"""Takes the pictures of the page and of the race's report, for ``docs/images/``.

::

    python -m pytest tests/support/screenshots.py

Not part of the tests: it takes four minutes, for the charts to have something to show. With
pngquant installed the pictures become a third as large.
"""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from browsers import DESKTOP, PHONE, Visit, put
from playwright.sync_api import expect

if TYPE_CHECKING:
    from playwright.sync_api import APIRequestContext, Browser, Page

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs/images"
SECONDS = 170
COLOURS = ("light", "dark")

VALUES = {
    "features/dark-mode": True,
    "motd": {"text": "We open at nine", "by": "Ana"},
    "orders/last": 9007199254740993,
    "rates": [1.0, 0.25, {"EUR": 0.93}],
    "stock/apples": 96,
    "stock/pears": 12,
    "visits": 4711,
}
EXPIRING = {"codes/ana": ("b7f9c1", 754), "offer": ({"percent": 20}, 93_000)}


@pytest.mark.timeout(400)
def test_take_the_page(visit: Visit, api: APIRequestContext) -> None:
    """At desktop and phone width, light and dark, after a race that shows what can go wrong."""
    for key, value in VALUES.items():
        put(api, key.replace("/", "%2F"), value)
    desktop = visit(viewport=DESKTOP, reduced_motion="reduce")
    phone = visit(viewport=PHONE, reduced_motion="reduce", device_scale_factor=2)
    _be_busy(api, desktop)
    for key, (value, ttl) in EXPIRING.items():
        put(api, key.replace("/", "%2F"), value, ttl)
    for page in (desktop, phone):
        page.get_by_role("button", name="+1, your own counter").click(click_count=3)
        page.get_by_role("row", name="offer").wait_for()
        _race(page)
    _forget_races(api, desktop, phone)
    for colours in COLOURS:
        _take(desktop, f"page-{colours}", colours, whole=True)
        for section in ("values", "race"):
            phone.locator(f"#{section}").evaluate("(node) => node.scrollIntoView()")
            _take(phone, f"phone-{section}-{colours}", colours)


@pytest.mark.timeout(400)
def test_take_the_report_of_the_race(chromium: Browser, tmp_path: Path) -> None:
    """Of a quick one, light and dark."""
    report = tmp_path / "race.reporting.html"
    subprocess.run(
        [sys.executable, "-m", "race", "--quick", "--html", report], cwd=ROOT, check=True
    )
    page = chromium.new_page(viewport=DESKTOP)  # type: ignore[arg-type]
    page.goto(report.as_uri())
    for colours in COLOURS:
        _take(page, f"race-{colours}", colours, whole=True)
    page.close()


def _race(page: Page) -> None:
    """Race until both wrong ways were caught."""
    caught = 0
    while caught < 2:
        page.get_by_role("button", name="Run all three").click()
        page.locator("#race-all:not([aria-disabled])").wait_for()
        caught = page.locator(".way[data-mood=bad]").count()


def _forget_races(api: APIRequestContext, *pages: Page) -> None:
    """Delete the counters of the races, as they would be gone a minute later."""
    for item in api.get("/v1/values?prefix=demo:").json()["items"]:
        api.delete(f"/v1/values/{item['key']}")
    for page in pages:
        expect(page.get_by_role("row", name="demo:")).to_have_count(0)


def _be_busy(api: APIRequestContext, page: Page) -> None:
    """Let a crowd come and go for as long as the charts need."""
    crowd = random.Random(4)
    for _ in range(SECONDS):
        for _ in range(crowd.randrange(5, 60)):
            api.post("/v1/counters/visits")
        page.wait_for_timeout(700)


def _take(page: Page, name: str, colours: str, *, whole: bool = False) -> None:
    page.emulate_media(color_scheme=colours)  # type: ignore[arg-type]
    path = DOCS / f"{name}.png"
    page.screenshot(path=path, full_page=whole)
    if shutil.which("pngquant"):
        subprocess.run(["pngquant", "--force", "--ext", ".png", "--strip", "128", path], check=True)
