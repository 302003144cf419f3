"""What the page says of what was done to a value, for how long, and its Undo."""

from __future__ import annotations

import re

import pytest
from browsers import Visit, cell, hide, put, row
from playwright.sync_api import APIRequestContext, Route, expect

pytestmark = pytest.mark.slow


def test_a_deleted_value_comes_back_with_its_time(visit: Visit, api: APIRequestContext) -> None:
    """Undo restores the value, and lets it expire when it would have."""
    put(api, "code", {"n": 1234}, 3600)
    page = visit()
    page.get_by_role("button", name="Delete code").click()
    expect(page.get_by_text("Deleted “code”.")).to_be_visible()
    assert api.get("/v1/values/code").status == 404
    page.get_by_role("button", name="Undo").click()
    expect(cell(page, "code", "value")).to_have_text('{"n":1234}')
    back = api.get("/v1/values/code").json()
    assert back["value"] == {"n": 1234}
    assert 3000 < back["ttl"] <= 3600


def test_undo_restores_what_was_deleted(visit: Visit, api: APIRequestContext) -> None:
    """A change that comes between the page's look and its deletion is not lost by undo."""
    put(api, "motd", "seen")
    page = visit(expected=(412,))

    def change_first(route: Route) -> None:
        if route.request.method == "DELETE":
            put(api, "motd", "newer")
        route.continue_()

    page.route("**/v1/values/motd", change_first)
    page.get_by_role("button", name="Delete motd").click()
    page.get_by_role("button", name="Undo").click()
    expect(cell(page, "motd", "value")).to_have_text('"newer"')


def test_undo_does_not_write_over_others(visit: Visit, api: APIRequestContext) -> None:
    """A key that somebody has made again after it was deleted stays as they made it."""
    put(api, "motd", "old")
    page = visit(expected=(412,))
    page.get_by_role("button", name="Delete motd").click()
    expect(page.get_by_role("button", name="Undo")).to_be_visible()
    put(api, "motd", "theirs")
    page.get_by_role("button", name="Undo").click()
    expect(page.locator("#message")).to_contain_text("somebody has made it again")
    assert api.get("/v1/values/motd").json()["value"] == "theirs"


def test_a_message_goes_after_some_seconds(visit: Visit, api: APIRequestContext) -> None:
    """What was done is said for six seconds, with Undo for fifteen, and while one is there."""
    put(api, "motd", "hello")
    page = visit(clock=True)
    message = page.locator("#message")
    expect(row(page, "motd")).to_be_visible()
    hide(page)  # Polls would time out on the way.
    for key, seconds in (("saved", 6), ("motd", 15)):
        if key == "saved":
            page.get_by_role("button", name="New value").click()
            page.get_by_label("Key", exact=True).fill(key)
            page.get_by_label("Value, as JSON").fill("1")
            page.get_by_role("button", name="Save").click()
        else:
            page.get_by_role("button", name="Delete motd").click()
        expect(message).to_contain_text(key)
        page.clock.run_for(seconds * 1000 - 500)
        expect(message).to_contain_text(key)
        page.clock.run_for(1000)
        expect(message).to_be_empty()
    put(api, "motd", "again")
    hide(page, False)
    page.get_by_role("button", name="Delete motd").click()
    hide(page)
    page.get_by_role("button", name="Undo").hover()
    page.clock.run_for(20_000)
    expect(message).to_contain_text("Deleted")
    page.mouse.move(0, 0)
    page.clock.run_for(20_000)
    expect(message).to_be_empty()


def test_an_error_stays_until_it_is_closed_or_something_else_is_done(
    visit: Visit, api: APIRequestContext
) -> None:
    """An error can be read at leisure; the next action takes it away, whatever comes of that."""
    put(api, "last", 2**63 - 1)
    put(api, "one", 1)
    page = visit(clock=True, expected=(409,))
    message = page.locator("#message")
    hide(page)  # Polls would time out on the way.
    for ending in ("Close this message", "+1 for one"):
        page.get_by_role("button", name="+1 for last").click()
        expect(message).to_contain_text("9223372036854775807")
        page.clock.run_for(120_000)
        expect(message).to_contain_text("9223372036854775807")
        page.get_by_role("button", name=ending).click()
        expect(message).to_be_empty()


def test_no_old_message_is_under_a_new_result(visit: Visit, api: APIRequestContext) -> None:
    """“Saved” is gone when the dialog says that nothing was, and when a race begins."""
    put(api, "motd", "old")
    page = visit(clock=True, expected=(412,))
    message = page.locator("#message")

    def save() -> None:
        page.get_by_role("button", name="Edit motd").click()
        page.get_by_label("Value, as JSON").fill('"mine"')
        page.get_by_role("button", name="Save").click()
        expect(message).to_have_text(re.compile("^Saved"))

    save()
    page.get_by_role("button", name="Edit motd").click()
    expect(message).to_be_empty()
    put(api, "motd", "theirs")
    page.get_by_role("button", name="Save").click()
    expect(page.locator("#conflict")).to_contain_text("Nothing was saved.")
    expect(message).to_be_empty()
    page.get_by_role("button", name="Cancel").click()
    save()
    page.get_by_role("button", name="Run all three").click()
    expect(message).to_be_empty()
