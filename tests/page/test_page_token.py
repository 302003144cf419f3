"""The page of a service that wants a token, and has no demonstration."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from browsers import ONE_WORKER, page_server, visits
from playwright.sync_api import Browser, Route, expect

pytestmark = pytest.mark.slow

TOKEN, READ_TOKEN = "s3cret", "looking"


@pytest.fixture(scope="module")
def guarded() -> Iterator[str]:
    """The address of a server that the tests of this module share."""
    settings = {"API_TOKEN": TOKEN, "API_READ_TOKEN": READ_TOKEN, "DEMO": "0"}
    with page_server(*ONE_WORKER, **settings) as url:
        yield url


def test_it_asks_for_the_token_and_keeps_it_for_the_tab(chromium: Browser, guarded: str) -> None:
    """With API_TOKEN nothing is shown before it is given; another tab has to give it again."""
    with visits(chromium, guarded) as visit:
        page = visit(expected=(401,))
        field = page.get_by_label("API token")
        expect(field).to_be_focused()
        expect(page.locator("#content")).to_be_hidden()
        field.fill("wrong")
        field.press("Enter")
        expect(page.locator("#token-error")).to_have_text("The service did not accept this token.")
        expect(page.locator("#message")).to_be_empty()
        field.fill(TOKEN)
        field.press("Enter")
        expect(page.locator("#ready")).to_have_text("Ready")
        expect(page.locator("#items-state")).to_have_text("Nothing here yet.")
        page.reload()
        expect(page.locator("#items-state")).to_have_text("Nothing here yet.")
        assert page.evaluate("localStorage.length") == 0
        tab = page.context.new_page()
        tab.goto(guarded)
        expect(tab.get_by_label("API token")).to_be_visible()
        page.get_by_role("button", name="Forget token").click()
        expect(page.get_by_label("API token")).to_be_visible()
        assert page.evaluate("sessionStorage.length") == 0


def test_a_late_refusal_does_not_take_the_next_token_away(chromium: Browser, guarded: str) -> None:
    """A 401 for a token that is not used any more leaves the one that is."""
    with visits(chromium, guarded) as visit:
        page = visit(expected=(401,))
        late: list[Route] = []
        page.route("**/v1/session", lambda route: late.append(route))
        field = page.get_by_label("API token")
        field.fill("wrong")
        field.press("Enter")
        expect(page.locator("#token-error")).not_to_be_empty()
        field.fill(TOKEN)
        field.press("Enter")
        expect(page.locator("#ready")).to_have_text("Ready")
        with page.expect_response("**/v1/session"):
            late[0].fulfill(status=401)
        expect(page.locator("#content")).to_be_visible()
        assert page.evaluate("sessionStorage.length") == 1


def test_a_read_only_token_is_told_so(chromium: Browser, guarded: str) -> None:
    """What a token may not do is said in the service's words, and nothing else fails."""
    with visits(chromium, guarded) as visit:
        page = visit(expected=(403,))
        page.get_by_label("API token").fill(READ_TOKEN)
        page.get_by_role("button", name="Continue").click()
        page.get_by_role("button", name="+1, your own counter").click()
        expect(page.locator("#message")).to_contain_text("token is for reading")


def test_the_demonstration_can_be_turned_off(chromium: Browser, guarded: str) -> None:
    """With DEMO=0 its routes are not there, and the page has no race and works without."""
    with visits(chromium, guarded) as visit:
        page = visit()
        page.get_by_label("API token").fill(TOKEN)
        page.get_by_role("button", name="Continue").click()
        expect(page.locator("#ready")).to_have_text("Ready")
        assert page.locator("#race, a[href='#race']").count() == 0
        headers = {"Authorization": f"Bearer {TOKEN}"}
        for method, path in (("get", ""), ("post", "/counter"), ("post", "/get-then-set")):
            response = getattr(page.request, method)(f"{guarded}/demo{path}", headers=headers)
            assert (response.status, response.json()["status"]) == (404, 404)
