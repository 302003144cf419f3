"""The page's list of counters and values, in real browsers."""

from __future__ import annotations

import re

import pytest
from browsers import DESKTOP, PHONE, Visit, cell, hide, page_server, put, row, visits
from memcached_servers import memcached_server
from playwright.sync_api import APIRequestContext, Browser, Playwright, Route, expect

pytestmark = pytest.mark.slow


def test_a_change_of_another_client_is_here_within_a_second(
    visit: Visit,
    api: APIRequestContext,
) -> None:
    """A second of the page's time is enough for a change, a new key and a deleted one."""
    put(api, "motd", "hello")
    page = visit(clock=True)
    expect(cell(page, "motd", "value")).to_have_text('"hello"')
    put(api, "motd", "bye")
    page.clock.run_for(1000)
    expect(cell(page, "motd", "value")).to_have_text('"bye"')
    api.delete("/v1/values/motd")
    put(api, "new", 1)
    page.clock.run_for(1000)
    expect(cell(page, "new", "value")).to_have_text("1")
    expect(row(page, "motd")).to_have_count(0)


def test_it_asks_with_the_etag_of_what_it_has(visit: Visit, api: APIRequestContext) -> None:
    """Once the list is here, each poll sends its ETag and is answered 304, without a body."""
    put(api, "motd", "hello")
    page = visit()
    expect(row(page, "motd")).to_be_visible()
    for _ in range(2):
        with page.expect_response("**/v1/values?*") as polled:
            pass
        assert polled.value.status == 304
        assert polled.value.request.header_value("If-None-Match").startswith('W/"')


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


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"a": 1,}', r"This is not JSON: .*line 1 column 9"),
        ("hello", r'Text needs double quotes: "hello"'),
        ("", r"A value is missing"),
    ],
)
def test_bad_json_is_explained_and_not_sent(
    visit: Visit, api: APIRequestContext, text: str, said: str
) -> None:
    """What is not JSON is said at the field, with the place and a remedy; nothing is sent."""
    page = visit()
    page.get_by_role("button", name="New value").click()
    page.get_by_label("Key", exact=True).fill("a")
    field = page.get_by_label("Value, as JSON")
    field.fill(text)
    page.get_by_role("button", name="Save").click()
    expect(page.locator("#editor-value-error")).to_have_text(re.compile(said))
    expect(field).to_have_attribute("aria-invalid", "true")
    expect(field).to_be_focused()
    assert api.get("/v1/values/a").status == 404
    field.fill("1")
    expect(page.locator("#editor-value-error")).to_be_empty()
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


def test_buttons_of_two_browsers_count_exactly(visit: Visit, api: APIRequestContext) -> None:
    """Two people who press +1 and −1 on one counter at the same time lose nothing."""
    put(api, "visits", 0)
    pages = [visit(), visit()]
    for page in pages:
        expect(row(page, "visits")).to_be_visible()
    for _ in range(10):
        for page in pages:
            # Chromium drops clicks of the mouse at times when it has much to do.
            page.get_by_role("button", name="+1 for visits").dispatch_event("click")
    pages[0].get_by_role("button", name="−1 for visits").dispatch_event("click")
    for page in pages:
        expect(cell(page, "visits", "value")).to_have_text("19")
    assert api.get("/v1/values/visits").json()["value"] == 19


def test_only_integers_can_be_counted(visit: Visit, api: APIRequestContext) -> None:
    """Values that are no counters have no +1; what a counter cannot do is said."""
    put(api, "text", "1")
    put(api, "half", 1.0)
    put(api, "last", 2**63 - 1)
    page = visit(expected=(409,))
    expect(cell(page, "half", "value")).to_have_text("1.0")
    expect(row(page, "text").get_by_role("button", name="+1")).to_have_count(0)
    expect(row(page, "half").get_by_role("button", name="+1")).to_have_count(0)
    row(page, "last").get_by_role("button", name="+1").click()
    expect(page.get_by_role("status").filter(has_text="9223372036854775807")).to_be_visible()


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
    assert 3500 < back["ttl"] <= 3600


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


def test_the_remaining_time_counts_down(visit: Visit, api: APIRequestContext) -> None:
    """The time left goes down by the second, without another answer of the server."""
    put(api, "code", 1, 3600)
    put(api, "motd", 1)
    page = visit(clock=True)
    expect(cell(page, "motd", "expires")).to_have_text("never")
    left = cell(page, "code", "expires")
    expect(left).to_have_text(re.compile(r"^(1:00:00|59:5\d)$"))
    hide(page)
    page.clock.run_for(1000)
    hide(page, False)
    page.clock.run_for(600_000)
    expect(left).to_have_text(re.compile(r"^49:[45]\d$"))


def test_what_expires_disappears(visit: Visit, api: APIRequestContext) -> None:
    """A value whose time has come leaves the list by itself."""
    page = visit()
    expect(page.get_by_text("Nothing here yet.")).to_be_visible()
    put(api, "code", 1, 3)
    expect(cell(page, "code", "expires")).to_have_text(re.compile("^[123] s$"))
    expect(row(page, "code")).to_have_count(0)


def test_an_edit_keeps_the_remaining_time(visit: Visit, api: APIRequestContext) -> None:
    """Saving a value leaves its expiry alone, unless another one is typed in."""
    put(api, "code", 1, 3600)
    page = visit()
    for value, typed, least, most in ((2, None, 3500, 3600), (3, "60", 50, 60), (4, "", 0, 0)):
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
    expect(row(page, "motd")).to_be_visible()
    page.route("**/v1/values?*", lambda route: None)  # The list hears of nothing any more.
    with page.expect_request(lambda request: request.headers.get("prefer") == "wait=8"):
        page.get_by_role("button", name="Edit motd").click()
    with page.expect_response(lambda response: "preference-applied" in response.headers):
        put(api, "motd", "theirs")
    expect(page.locator("#conflict pre")).to_have_text('"theirs"')
    assert sum(map(bool, waited)) == 1
    page.get_by_role("button", name="Edit that one").click()
    put(api, "motd", "another")
    expect(page.locator("#conflict pre")).to_have_text('"another"')
    page.unroute_all(behavior="ignoreErrors")


def test_the_list_is_filtered_and_has_pages(visit: Visit, api: APIRequestContext) -> None:
    """A prefix chooses the keys; more than 25 are on several pages, which one can turn."""
    for number in range(30):
        put(api, f"a{number:02}", number)
    put(api, "b", 1)
    page = visit()
    rows = page.get_by_role("rowheader")
    expect(rows).to_have_count(25)
    page.get_by_role("button", name="Next").click()
    expect(rows).to_have_text(["a25", "a26", "a27", "a28", "a29", "b"])
    expect(page.get_by_role("button", name="Next")).to_be_disabled()
    expect(page.locator("#items-state")).to_have_text(
        "6 keys on this page; in all 31 keys, 31 are counters"
    )
    put(api, "c", 1)
    expect(rows).to_have_count(7)
    page.get_by_role("button", name="Previous").click()
    expect(rows).to_have_count(25)
    page.get_by_label("Keys that begin with").fill("a1")
    expect(rows).to_have_text([f"a1{digit}" for digit in range(10)])
    put(api, "a10", "text")
    expect(page.locator("#items-state")).to_have_text("10 keys, 9 are counters")
    page.get_by_label("Keys that begin with").fill("none")
    expect(page.get_by_text("No key begins with “none”.")).to_be_visible()


def test_more_keys_than_are_counted_are_more_than_those(
    visit: Visit, api: APIRequestContext
) -> None:
    """Where the service lists no more at a time, as many as it has listed are a lower bound."""
    for number in range(26):
        put(api, f"a{number:02}", number)
    page = visit()
    listed = {"items": [{"key": f"k{n}", "value": n} for n in range(300)], "next": "more"}
    page.route("**/v1/values?*limit=1000", lambda route: route.fulfill(json=listed))
    page.reload()
    expect(page.locator("#items-state")).to_have_text(
        "25 keys on this page; in all more than 300 keys"
    )


def test_text_of_others_stays_text(visit: Visit, api: APIRequestContext) -> None:
    """A key and a value that look like HTML are shown, and are not part of the page."""
    html = "<img src=x onerror=alert(1)>"
    answer = api.put(f"/v1/values/{html.replace(' ', '%20')}", data={"value": html})
    assert answer.ok
    page = visit()
    expect(cell(page, html, "value")).to_have_text(f'"{html}"')
    assert page.locator("#items img").count() == 0


def test_a_store_that_cannot_list_shows_the_keys_that_are_typed(
    playwright: Playwright,
    chromium: Browser,
) -> None:
    """On memcached one types a key to see it, and can then do to it what can be done elsewhere."""
    with (
        memcached_server() as memcached,
        page_server(CACHE_URL=f"memcached://127.0.0.1:{memcached.port}") as url,
        visits(chromium, url) as visit,
    ):
        page = visit(expected=(404,))
        expect(page.get_by_text("This store cannot list its keys.")).to_be_visible()
        page.get_by_role("searchbox", name="Key").fill("visits")
        page.get_by_role("button", name="Show").click()
        expect(cell(page, "visits", "value")).to_have_text("nothing yet")
        page.get_by_role("button", name="+1 for visits").click()
        expect(cell(page, "visits", "value")).to_have_text("1")
        other = playwright.request.new_context(base_url=url)
        put(other, "visits", "text")
        expect(cell(page, "visits", "value")).to_have_text('"text"')
        other.dispose()


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_a_long_key_leaves_the_dialog_as_wide_as_it_is(
    visit: Visit, api: APIRequestContext, size: dict[str, int]
) -> None:
    """With a key of 250 characters without a space all of the dialog can be seen and reached."""
    key = "k" * 250
    put(api, key, {"text": "v" * 300})
    page = visit(viewport=size, expected=(412,))
    page.get_by_role("button", name=f"Edit {key}").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_be_visible()
    hide(page)  # No poll shows the change before.
    put(api, key, {"text": "w" * 300})
    page.get_by_role("button", name="Save").click()
    expect(page.locator("#conflict pre")).to_be_visible()
    assert dialog.evaluate("(node) => node.scrollWidth <= node.clientWidth")
    inside = dialog.bounding_box()
    for name in ("Save", "Cancel", "Edit that one", "Replace it by mine"):
        button = page.get_by_role("button", name=name, exact=True).bounding_box()
        assert inside["x"] <= button["x"], name
        assert button["x"] + button["width"] <= inside["x"] + inside["width"] <= size["width"]


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


def test_a_value_that_cannot_be_read_can_be_deleted(visit: Visit, api: APIRequestContext) -> None:
    """Its row says so and offers nothing else; the other rows are as ever."""
    put(api, "motd", "hello")
    put(api, "odd", 1)
    page = visit(expected=(400,))

    def unreadable(route: Route) -> None:
        answer = route.fetch()
        problem = {"type": "urn:sharedstate:not-serializable", "title": "It cannot be read"}
        body = answer.json()
        for item in body["items"]:
            if item["key"] == "odd":
                del item["value"]
                item["problem"] = problem
        route.fulfill(response=answer, json=body, headers={})

    page.route("**/v1/values?*", unreadable)
    page.route(
        "**/v1/values/odd",
        lambda route: (
            route.fallback()
            if route.request.method == "DELETE"
            else route.fulfill(
                status=400,
                content_type="application/problem+json",
                json={"type": "urn:sharedstate:not-serializable", "title": "It cannot be read"},
            )
        ),
    )
    page.reload()
    expect(cell(page, "odd", "value")).to_have_text("It cannot be read")
    expect(cell(page, "motd", "value")).to_have_text('"hello"')
    expect(page.get_by_role("button", name="Edit odd")).to_be_hidden()
    page.get_by_role("button", name="Delete odd").click()
    expect(row(page, "odd")).to_have_count(0)
    assert api.get("/v1/values/odd").status == 404


def test_pages_without_items_are_passed_over(visit: Visit, api: APIRequestContext) -> None:
    """Where the service ends a page before it finds anything, the page goes on by itself."""
    put(api, "motd", "hello")
    page = visit()

    def late(route: Route) -> None:
        steps = ("none", "nothing", "")
        cursor = re.search(r"cursor=(\w*)", route.request.url)
        step = steps.index(cursor[1]) + 1 if cursor else 0
        if step < len(steps) - 1:
            route.fulfill(json={"items": [], "next": steps[step]}, headers={"ETag": 'W/"x"'})
        else:
            route.continue_(url=re.sub(r"&cursor=\w*", "", route.request.url))

    page.route("**/v1/values?*", late)
    page.reload()
    expect(cell(page, "motd", "value")).to_have_text('"hello"')
    put(api, "new", 1)
    expect(row(page, "new")).to_be_visible()
