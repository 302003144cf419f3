"""The page's dialog to create and edit a value, in real browsers."""

from __future__ import annotations

import re
import time

import pytest
from browsers import (
    DESKTOP,
    PHONE,
    Visit,
    cell,
    hide,
    put,
    row,
)
from playwright.sync_api import APIRequestContext, expect

pytestmark = pytest.mark.slow


def test_create_edit_and_delete_with_the_keyboard_alone(
    visit: Visit,
    api: APIRequestContext,
) -> None:
    """A value is made, changed and deleted without a mouse, and the focus stays where one works."""
    page = visit()
    page.get_by_role("button", name="New value").focus()
    page.keyboard.press("Enter")
    page.keyboard.type("motd")
    page.keyboard.press("Tab")
    page.keyboard.type('{"text": "hello"}')
    page.keyboard.press("Control+Enter")
    expect(cell(page, "motd", "value")).to_have_text('{"text":"hello"}')
    expect(page.get_by_role("button", name="New value")).to_be_focused()
    page.get_by_role("button", name="Edit motd").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_label("Value, as JSON")).to_be_focused()
    page.keyboard.press("Control+a")
    page.keyboard.type("42")
    page.keyboard.press("Control+Enter")
    expect(cell(page, "motd", "value")).to_have_text("42")
    expect(page.get_by_role("button", name="Edit motd")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(row(page, "motd")).to_have_count(0)
    expect(page.get_by_role("button", name="New value")).to_be_focused()
    assert api.get("/v1/values/motd").status == 404


def test_bad_json_is_explained_and_not_sent(visit: Visit, api: APIRequestContext) -> None:
    """What is not JSON is said at the field, with the place and a remedy; nothing is sent."""
    page = visit()
    page.get_by_role("button", name="New value").click()
    page.get_by_label("Key", exact=True).fill("a")
    field, said = page.get_by_label("Value, as JSON"), page.locator("#editor-value-error")
    for text, mistake in (
        ('{"a": 1,}', r"This is not JSON: .*line 1 column 9"),
        ("hello", r'Text needs double quotes: "hello"'),
        ("", r"A value is missing"),
    ):
        field.fill(text)
        page.get_by_role("button", name="Save").click()
        expect(said).to_have_text(re.compile(mistake))
        expect(field).to_have_attribute("aria-invalid", "true")
        expect(field).to_be_focused()
    assert api.get("/v1/values/a").status == 404
    field.fill("1")
    expect(said).to_be_empty()
    page.get_by_role("button", name="Save").click()
    expect(cell(page, "a", "value")).to_have_text("1")


def test_a_key_that_is_there_is_not_created_again(visit: Visit, api: APIRequestContext) -> None:
    """Creating a key that others have made shows theirs instead of replacing it."""
    put(api, "motd", "theirs")
    page = visit(expected=(412,))
    page.get_by_role("button", name="New value").click()
    page.get_by_label("Key", exact=True).fill("motd")
    page.get_by_label("Value, as JSON").fill('"mine"')
    page.get_by_role("button", name="Save").click()
    expect(page.locator("#conflict")).to_contain_text("This key is there already.")
    expect(page.locator("#conflict pre")).to_have_text('"theirs"')
    assert api.get("/v1/values/motd").json()["value"] == "theirs"


def test_numbers_that_javascript_cannot_hold_stay_as_they_are(
    visit: Visit,
    api: APIRequestContext,
) -> None:
    """An edit beside a 64-bit number or a float leaves all their digits."""
    put(api, "big", {"n": 2**53 + 1, "price": 1.0, "note": "old"})
    page = visit()
    expect(cell(page, "big", "value")).to_contain_text("9007199254740993")
    page.get_by_role("button", name="Edit big").click()
    field = page.get_by_label("Value, as JSON")
    expect(field).to_be_visible()
    field.fill(field.input_value().replace("old", "new"))
    page.get_by_role("button", name="Save").click()
    expect(cell(page, "big", "value")).to_contain_text("new")
    stored = api.get("/v1/values/big").text()
    assert '"n":9007199254740993' in stored and '"price":1.0' in stored


def test_an_edit_keeps_the_remaining_time(visit: Visit, api: APIRequestContext) -> None:
    """Saving a value leaves its expiry alone, unless another one is typed in."""
    put(api, "code", 1, 3600)
    page = visit()
    for value, typed, least, most in ((2, None, 3000, 3600), (3, "600", 300, 600), (4, "", 0, 0)):
        page.get_by_role("button", name="Edit code").click()
        page.get_by_label("Value, as JSON").fill(str(value))
        if typed is not None:
            page.get_by_label("Expires after").fill(typed)
        page.get_by_role("button", name="Save").click()
        expect(page.get_by_role("dialog")).to_be_hidden()
        expect(cell(page, "code", "value")).to_have_text(str(value))
        assert least <= (api.get("/v1/values/code").json()["ttl"] or 0) <= most


def test_an_edit_does_not_write_over_a_change_of_others(
    visit: Visit,
    api: APIRequestContext,
) -> None:
    """Saving what was read before somebody else's change shows theirs; one may then choose."""
    put(api, "motd", "old")
    page = visit(expected=(412,))
    for choice, kept in (("Replace it by mine", "mine"), ("Edit that one", "theirs")):
        put(api, "motd", "old")
        expect(cell(page, "motd", "value")).to_have_text('"old"')
        page.get_by_role("button", name="Edit motd").click()
        field = page.get_by_label("Value, as JSON")
        field.fill('"mine"')
        hide(page)  # No poll tells it before.
        put(api, "motd", "theirs")
        page.get_by_role("button", name="Save").click()
        expect(page.locator("#conflict")).to_contain_text("Somebody else has changed it")
        expect(page.locator("#conflict pre")).to_have_text('"theirs"')
        assert api.get("/v1/values/motd").json()["value"] == "theirs"
        hide(page, False)
        page.get_by_role("button", name=choice).click()
        if choice == "Edit that one":
            expect(field).to_have_value('"theirs"')
            page.get_by_role("button", name="Save").click()
        expect(page.get_by_role("dialog")).to_be_hidden()
        assert api.get("/v1/values/motd").json()["value"] == kept


def test_a_change_is_shown_while_one_edits(visit: Visit, api: APIRequestContext) -> None:
    """Somebody else's change, or that they have deleted it, is said before one saves."""
    put(api, "motd", "old")
    page = visit(expected=(404,))
    for change, said in (
        (lambda: put(api, "motd", "theirs"), "Somebody else has changed it"),
        (lambda: api.delete("/v1/values/motd"), "Somebody else has deleted it"),
    ):
        page.get_by_role("button", name="Edit motd").click()
        expect(page.get_by_role("dialog")).to_be_visible()
        change()
        expect(page.locator("#conflict")).to_contain_text(said)
        page.get_by_role("button", name="Cancel").click()


def test_a_change_is_told_at_once_while_one_edits(visit: Visit, api: APIRequestContext) -> None:
    """The editor waits for another value, and does not ask again and again."""
    put(api, "motd", "old")
    page = visit()
    waited: list[str] = []
    page.on("request", lambda request: waited.append(request.headers.get("prefer", "")))
    began = time.monotonic()
    expect(row(page, "motd")).to_be_visible()
    page.route("**/v1/values?*", lambda route: None)  # The list hears of nothing any more.
    with page.expect_request(lambda request: request.headers.get("prefer") == "wait=8"):
        page.get_by_role("button", name="Edit motd").click()
    with page.expect_response(lambda response: "preference-applied" in response.headers):
        put(api, "motd", "theirs")
    expect(page.locator("#conflict pre")).to_have_text('"theirs"')
    assert sum(map(bool, waited)) <= 1 + (time.monotonic() - began) / 8
    page.get_by_role("button", name="Edit that one").click()
    put(api, "motd", "another")
    expect(page.locator("#conflict pre")).to_have_text('"another"')
    page.unroute_all(behavior="ignoreErrors")


def test_a_long_key_leaves_the_dialog_as_wide_as_it_is(
    visit: Visit, api: APIRequestContext
) -> None:
    """With a key of 250 characters without a space all of the dialog can be seen and reached."""
    key = "k" * 250
    put(api, key, {"text": "v" * 300})
    page = visit(viewport=PHONE, expected=(412,))
    page.get_by_role("button", name=f"Edit {key}").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_be_visible()
    hide(page)  # No poll shows the change before.
    put(api, key, {"text": "w" * 300})
    page.get_by_role("button", name="Save").click()
    expect(page.locator("#conflict pre")).to_be_visible()
    for size in (PHONE, DESKTOP):
        page.set_viewport_size(size)
        assert dialog.evaluate("(node) => node.scrollWidth <= node.clientWidth")
        inside = dialog.bounding_box()
        for name in ("Save", "Cancel", "Edit that one", "Replace it by mine"):
            button = page.get_by_role("button", name=name, exact=True).bounding_box()
            assert inside["x"] <= button["x"], name
            assert button["x"] + button["width"] <= inside["x"] + inside["width"] <= size["width"]
