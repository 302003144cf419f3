"""The page's race, in real browsers: what goes wrong, what does not, and what proves nothing."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from browsers import ONE_WORKER, Visit, page_server, visits
from playwright.sync_api import Browser, Page, Route, expect

import app as service

pytestmark = pytest.mark.slow

# Six connections may all lead to one worker.
ATTEMPTS = 10

# Inside the page, as 2,000 requests through the test take long.
RIGHT_NUMBERS = """
() => {
    const send = window.fetch;
    window.given = {};
    window.fetch = async (url, options) => {
        if (!String(url).endsWith("/demo/get-then-set")) return send(url, options);
        const { race } = JSON.parse(options.body);
        given[race] = (given[race] ?? 0) + 1;
        return Response.json({ value: given[race], worker: 7 });
    };
}
"""


def race(page: Page, way: str) -> str:
    """Send 100 requests one way; returns what it came to."""
    card = page.locator(f"#{way}")
    card.get_by_role("button", name="Send 100 requests").click()
    expect(page.locator("#race-all")).not_to_have_attribute("aria-disabled", "true")
    expect(card.locator(".verdict")).not_to_be_empty()
    verdict = card.locator(".verdict").inner_text()
    _check_grid(card.locator(".numbers").text_content() or "", page, way)
    return verdict


def _check_grid(text: str, page: Page, way: str) -> None:
    """The cells of the grid are what the numbers that came back say."""
    numbers = [int(number) for number in text.split()]
    kinds = {number: numbers.count(number) for number in range(1, 101)}
    for kind, wanted in (
        ("once", [n for n, times in kinds.items() if times == 1]),
        ("twice", [n for n, times in kinds.items() if times > 1]),
        ("never", [n for n, times in kinds.items() if times == 0]),
    ):
        assert page.locator(f"#{way} .cell.{kind}").all_inner_texts() == [str(n) for n in wanted]


@pytest.mark.parametrize(
    ("way", "why"),
    [
        ("global-variable", r"Each process counted for itself: process \d+ served \d+, process"),
        ("get-then-set", "Some read the same number before either of them had written."),
    ],
)
def test_a_wrong_way_to_count_is_seen_to_fail(visit: Visit, way: str, why: str) -> None:
    """Numbers that came back twice and those that nobody got are marked, counted and explained."""
    for _ in range(ATTEMPTS):
        page = visit()
        verdict = race(page, way)
        if "only" in verdict:
            break
        assert "No wrong number in 20 rounds, and nothing rules one out." in verdict
    assert re.search(r"^100 requests got only \d\d different numbers: .*to nobody\.", verdict)
    assert re.search(why, verdict)
    assert page.locator(f"#{way} .cell.twice").count() > 0
    assert page.locator(f"#{way} .cell.never").count() > 0
    expect(page.locator(f"#{way}")).to_have_attribute("data-mood", "bad")


def test_the_counter_gives_every_number_once(visit: Visit) -> None:
    """The same 100 requests at the exact counter bring 1 to 100, again and again."""
    page = visit()
    for _ in range(2):
        verdict = race(page, "counter")
        assert (
            verdict
            == "All 100 got a number of their own, 1 to 100. Nothing twice, nothing left out."
        )
        expect(page.locator("#counter .cell.once")).to_have_count(100)
        expect(page.locator("#counter")).to_have_attribute("data-mood", "good")


def raced(route: Route, numbers: Callable[[int], int]) -> None:
    """Answer a request of a race with what `numbers` makes of the round that it is in."""
    name = route.request.post_data_json["race"]
    route.fulfill(json={"value": numbers(int(name.rpartition("-")[2])), "worker": 7})


def test_requests_are_sent_again_until_a_number_is_wrong(visit: Visit) -> None:
    """Get-then-set goes on while its numbers are right, and says in which round they were not."""
    page = visit()
    given: list[int] = []

    def right_twice(number: int) -> int:
        given.append(number)
        return given.count(number) if number < 3 else 1

    page.route("**/demo/get-then-set", lambda route: raced(route, right_twice))
    verdict = race(page, "get-then-set")
    expect(page.locator("#get-then-set .rounds")).to_have_text("Round 3 of at most 20")
    assert verdict.startswith("100 requests got only 1 different numbers")
    assert [given.count(number) for number in (1, 2, 3, 4)] == [100, 100, 100, 0]


def test_it_does_not_go_on_for_ever(visit: Visit) -> None:
    """After 20 rounds without a wrong number it says so, and that nothing rules one out."""
    page = visit()
    page.evaluate(RIGHT_NUMBERS)
    verdict = race(page, "get-then-set")
    assert verdict.endswith("No wrong number in 20 rounds, and nothing rules one out.")
    assert page.evaluate("Object.values(given)") == [100] * 20
    expect(page.locator("#get-then-set .rounds")).to_have_text("Round 20 of at most 20")
    race(page, "counter")
    expect(page.locator("#counter .rounds")).to_be_empty()


def test_requests_that_fail_are_counted(visit: Visit) -> None:
    """What has no number is said with its reason, and is not sent again."""
    page = visit(expected=(503,))
    asked: list[str] = []

    def fail_twice(route: Route) -> None:
        asked.append(route.request.url)
        if len(asked) in (3, 40):
            problem = {"title": "Down", "detail": "The store is down.", "status": 503}
            route.fulfill(status=503, json=problem, content_type="application/problem+json")
        else:
            route.fulfill(json={"value": len(asked), "worker": 7})

    page.route("**/demo/counter", fail_twice)
    page.locator("#counter").get_by_role("button", name="Send 100 requests").click()
    verdict = page.locator("#counter .verdict")
    expect(verdict).to_have_text("2 of 100 requests failed: The store is down.")
    assert page.locator("#counter .cell.never").all_inner_texts() == ["3", "40"]
    assert len(asked) == 100


def test_all_ways_race_with_one_button(visit: Visit) -> None:
    """One button sends the requests of all three ways; the counter is exact beside the others."""
    page = visit()
    page.get_by_role("button", name="Run all three").click()
    for way in ("global-variable", "get-then-set", "counter"):
        expect(page.locator(f"#{way} .verdict")).to_have_text(re.compile("^(100 requests|All 100)"))
    expect(page.locator("#counter")).to_have_attribute("data-mood", "good")


def test_one_worker_with_one_thread_proves_nothing(chromium: Browser) -> None:
    """Where requests cannot meet, the page says so before and after, and shows nothing as proof."""
    with (
        page_server(*ONE_WORKER, "--threads", "1") as url,
        visits(chromium, url) as visit,
    ):
        page = visit()
        expect(page.locator("#race-server")).to_contain_text("no race can show a failure here")
        for way in ("global-variable", "get-then-set", "counter"):
            assert "That proves nothing: one worker with one thread" in race(page, way)
            expect(page.locator(f"#{way}")).to_have_attribute("data-mood", "open")


def test_workers_that_share_no_store_fail_with_the_counter_too(chromium: Browser) -> None:
    """On the store `simple` two workers give numbers twice; the page shows it and says why."""
    with (
        page_server(CACHE_TYPE="simple") as url,
        visits(chromium, url) as visit,
    ):
        for _ in range(ATTEMPTS):
            page = visit(expected=(503,))
            expect(page.locator("#ready")).to_have_text("Not ready: The state is not shared")
            expect(page.locator("#banner")).to_be_empty()
            verdict = race(page, "counter")
            if "only" in verdict:
                break
        assert "This store is in the memory of a process" in verdict


def test_a_race_has_its_own_numbers() -> None:
    """Each name counts from 1, each way by itself, for a minute; a bad name is refused."""
    client = service.create_app({"CACHE_TYPE": "simple"}).test_client()
    for way in ("global-variable", "get-then-set", "counter"):
        for name, number in (("a", 1), ("a", 2), ("b", 1)):
            response = client.post(f"/demo/{way}", json={"race": f"{way}-{name}"}).get_json()
            assert response["value"] == number
        assert client.post(f"/demo/{way}", json={"race": "a b"}).status_code == 400
        assert client.get(f"/demo/{way}").status_code == 405
    listed = {item["key"]: item for item in client.get("/v1/values").get_json()["items"]}
    assert {key: item["value"] for key, item in listed.items()} == {
        f"demo:{way}-{name}:{way}": number
        for way in ("get-then-set", "counter")
        for name, number in (("a", 2), ("b", 1))
    }
    assert all(0 < item["ttl"] <= 60 for item in listed.values())


@pytest.mark.parametrize("way", ["get-then-set", "counter"])
def test_a_race_leaves_what_is_no_number(way: str) -> None:
    """Where a client has stored a text under a race's key, the race is refused and it stays."""
    client = service.create_app({"CACHE_TYPE": "simple"}).test_client()
    url = f"/v1/values/demo:r:{way}"
    assert client.put(url, json={"value": "text"}).status_code == 201
    response = client.post(f"/demo/{way}", json={"race": "r"})
    assert (response.status_code, response.get_json()["type"]) == (
        409,
        "urn:sharedstate:not-a-counter",
    )
    assert client.get(url).get_json()["value"] == "text"


CASES = [
    ([2, 1, 3], {}, "good", "All 3 got a number of their own, 1 to 3."),
    ([1, 1, 2], {"way": "global-variable", "processes": [7, 8, 8]}, "bad", "for itself: process 7"),
    ([1, 1, 3], {}, "bad", "the number 1 went to several of them, the number 2 to nobody"),
    ([1, 2, 4], {}, "bad", "0 numbers went to several of them, the number 3 to nobody"),
    ([1, 2], {"failed": ["It is down."]}, "bad", "1 of 3 requests failed: It is down."),
    ([1, 2, 3], {"way": "get-then-set"}, "open", "But nothing rules one out."),
    ([1, 2, 3], {"way": "get-then-set", "rounds": 4}, "open", "No wrong number in 4 rounds, and"),
    ([1, 2, 3], {"overlap": False}, "open", "That proves nothing"),
    ([1, 2, 3], {"overlap": False, "processes": [7, 8, 7]}, "good", "Nothing twice"),
    ([1, 2, 3], {"way": "global-variable"}, "open", "led to process 7"),
    ([1, 1, 2], {"processes": [7, 8, 8]}, "bad", "process 7 served 1, process 8 served 2."),
    ([1, 1, 2], {"processes": [7, 8, 8]}, "bad", "several workers need another one."),
]


def test_what_numbers_mean(visit: Visit) -> None:
    """The sentence about a race follows from the numbers, and from what kind of server it is."""
    page = visit()
    usual = {"way": "counter", "overlap": True, "processes": [7, 7, 7], "failed": [], "rounds": 1}
    for numbers, about, mood, text in CASES:
        found = page.evaluate(
            """async ([numbers, race]) => {
              const { judge, verdict } = await import("/static/judge.js");
              return verdict(judge(numbers, 3), race);
            }""",
            [numbers, {**usual, **about}],
        )
        assert (found["mood"], text in found["text"]) == (mood, True), found
        # A reason is given where it is known, and a remedy where the store is to blame.
        if mood == "bad" and about == {}:
            assert found["text"].endswith("to nobody.")
        if about.get("way") == "global-variable" and mood == "bad":
            assert found["text"].endswith("process 8 served 2.")
