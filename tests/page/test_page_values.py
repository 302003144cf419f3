"""The page's list of counters and values, in real browsers."""

from __future__ import annotations

import re

import pytest
from browsers import (
    ONE_WORKER,
    Visit,
    cell,
    hide,
    page_server,
    put,
    row,
    visits,
)
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


def test_the_remaining_time_counts_down(visit: Visit, api: APIRequestContext) -> None:
    """The time left goes down by the second, without another response of the server."""
    put(api, "code", 1, 3600)
    put(api, "motd", 1)
    page = visit(clock=True)
    expect(cell(page, "motd", "expires")).to_have_text("never")
    left = cell(page, "code", "expires")
    expect(left).to_have_text(re.compile(r"^(1:00:00|5[5-9]:\d\d)$"))
    hide(page)
    page.clock.run_for(1000)
    hide(page, False)
    page.clock.run_for(600_000)
    expect(left).to_have_text(re.compile(r"^4[5-9]:\d\d$"))


def test_what_expires_disappears(visit: Visit, api: APIRequestContext) -> None:
    """A value whose time has come leaves the list by itself."""
    page = visit()
    expect(page.get_by_text("Nothing here yet.")).to_be_visible()
    put(api, "code", 1, 3600)
    expect(row(page, "code")).to_be_visible()
    put(api, "code", 1, 0.5)
    expect(row(page, "code")).to_have_count(0)


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
    response = api.put(f"/v1/values/{html.replace(' ', '%20')}", data={"value": html})
    assert response.ok
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
        page_server(*ONE_WORKER, CACHE_URL=f"memcached://127.0.0.1:{memcached.port}") as url,
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


def test_a_value_that_cannot_be_read_can_be_deleted(visit: Visit, api: APIRequestContext) -> None:
    """Its row says so and offers nothing else; the other rows are as ever."""
    put(api, "motd", "hello")
    put(api, "odd", 1)
    page = visit(expected=(400,))

    def unreadable(route: Route) -> None:
        response = route.fetch()
        problem = {"type": "urn:sharedstate:not-serializable", "title": "It cannot be read"}
        body = response.json()
        for item in body["items"]:
            if item["key"] == "odd":
                del item["value"]
                item["problem"] = problem
        route.fulfill(response=response, json=body, headers={})

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
    page = visit(clock=True)  # It stops to look after some seconds.

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
    page.clock.run_for(1000)
    expect(row(page, "new")).to_be_visible()
