"""Views that do what a request with an ``Idempotency-Key`` asks once."""

# ruff: noqa: F811  # the fixtures that are imported are arguments of the tests

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest
from backends import IN_THE_STATE, ONE_OF_EACH_KIND, Clock
from flask import Flask, Response, abort, request
from shop import (
    Maker,
    Shop,
    is_replay,
    shop,  # noqa: F401  # fixtures
)

from sharedstate import State, ValueTooLarge
from sharedstate.jobs import idempotent

pytestmark = ONE_OF_EACH_KIND
SECONDS = 30  # Guards against a hang, and nothing else.


class TestRepeats:
    def test_once(self, shop: Shop) -> None:
        """A repeat gets the response of the first, and says so."""
        first, repeat = shop.pay(json={"n": 1}), shop.pay(json={"n": 1})
        assert (shop.runs, is_replay(first), is_replay(repeat)) == (1, False, True)
        assert (repeat.status, repeat.data) == (first.status, first.data)
        assert repeat.json == {"run": 1, "item": "a"}
        theirs = {k: v for k, v in repeat.headers.items() if k != "Idempotency-Replayed"}
        assert theirs == dict(first.headers)

    def test_other_keys(self, shop: Shop) -> None:
        """Another key is another request, and without one each is."""
        for key in ("a", "A", "é", "a" * 1000, None, None):
            assert not is_replay(shop.pay(key))
        assert shop.runs == 6

    @pytest.mark.parametrize(
        "other",
        [
            {"method": "PUT"},
            {"path": "/pay/b"},
            {"path": "/give/a"},
            {"path": "/pay/a?b"},
            {"data": b"other"},
            {"headers": {"Host": "other"}},
        ],
        ids=lambda other: "-".join(map(str, *other.items())),
    )
    @IN_THE_STATE
    def test_another_request(self, shop: Shop, other: dict[str, Any]) -> None:
        """The same key with another request is refused."""
        shop.pay()
        assert shop.pay(**other).status_code == 422
        assert shop.runs == 1

    def test_expires(self, shop: Shop, clock: Clock) -> None:
        """A response is kept for a day."""
        shop.pay()
        clock.advance(86000)
        assert is_replay(shop.pay())
        clock.advance(500)
        assert not is_replay(shop.pay())

    def test_json(self, json_state: State) -> None:
        """A response can be stored as JSON, whatever bytes it has."""
        shop = Shop(json_state)
        raw = bytes(range(256))
        shop.before = lambda: Response(raw, mimetype="image/png")
        shop.pay()
        assert (shop.pay().data, shop.pay().mimetype, shop.runs) == (raw, "image/png", 1)

    @IN_THE_STATE
    def test_per(self, state: State) -> None:
        """Each principal has keys of its own."""
        shop = Shop(state, per=lambda: request.headers["User"])
        runs = [shop.pay(headers={"User": user}).json["run"] for user in ("a", "b", "a")]
        assert runs == [1, 2, 1]

    @IN_THE_STATE
    def test_required(self, state: State) -> None:
        """A request without a key can be refused, and one with an empty key always is."""
        shop = Shop(state, required=True)
        assert [shop.pay(key).status_code for key in (None, "", "k")] == [400, 400, 201]
        assert Shop(state).pay("").status_code == 400


class TestStored:
    @IN_THE_STATE
    def test_server_errors(self, shop: Shop) -> None:
        """What failed is not stored: a repeat tries again."""

        def fail() -> None:
            raise ZeroDivisionError

        shop.app.testing = False
        for before in (fail, lambda: ("down", 503), lambda: abort(500)):
            shop.before = before
            assert shop.pay().status_code >= 500
        shop.before = lambda: None
        assert (shop.pay().status_code, shop.runs) == (201, 4)

    @IN_THE_STATE
    def test_refusals(self, shop: Shop) -> None:
        """A request that the view refuses is refused again, as the application has it."""
        shop.app.register_error_handler(410, lambda error: ({"own": "error"}, 410))
        shop.before = lambda: abort(404)
        first, repeat = shop.pay(), shop.pay()
        assert (first.status_code, is_replay(repeat), shop.runs) == (404, True, 1)
        assert repeat.data == first.data
        shop.before = lambda: abort(410)
        assert [shop.pay("b").json for _ in range(2)] == [{"own": "error"}] * 2
        assert shop.runs == 2

    @IN_THE_STATE
    def test_no_cookies(self, shop: Shop) -> None:
        """A cookie goes to the one who asked first only."""

        def log_in() -> Response:
            response = Response("in")
            response.set_cookie("token", "secret")
            return response

        shop.before = log_in
        assert "Set-Cookie" in shop.pay().headers
        assert "Set-Cookie" not in shop.pay().headers

    @IN_THE_STATE
    def test_after_request(self, shop: Shop) -> None:
        """What the application does to each response it does to a repeat, too."""
        shop.app.after_request(lambda it: (it.headers.add("X-Seen", "1"), it)[1])
        assert [shop.pay().headers.getlist("X-Seen") for _ in range(2)] == [["1"], ["1"]]

    @IN_THE_STATE
    def test_cannot_be_stored(self, shop: Shop, state: State) -> None:
        """A response that is streamed or too long raises."""
        shop.before = lambda: Response(iter(["a", "b"]))
        with pytest.raises(TypeError, match="streamed"):
            shop.pay()
        shop.before = lambda: "x" * (state.max_value_bytes + 1)
        with pytest.raises(ValueTooLarge):
            shop.pay()

    @IN_THE_STATE
    def test_views(self, state: State) -> None:
        """A view keeps its name, and may be a coroutine function."""
        app = Flask("app")

        @app.post("/")
        @Maker(state).idempotent()
        async def later() -> str:
            """Later."""
            return f"run {state.inc('runs')}"

        assert (later.__name__, later.__doc__) == ("later", "Later.")
        ask = partial(app.test_client().post, "/", headers={"Idempotency-Key": "k"})
        assert [ask().text, ask().text] == ["run 1", "run 1"]

    @IN_THE_STATE
    def test_wrong(self, state: State) -> None:
        """What is wrong raises where the view is defined."""
        for options in ({"timeout": -1}, {"lease": 0}):
            with pytest.raises(ValueError):
                Maker(state).idempotent(**options)


class TestParallel:
    def test_waits(self, state: State) -> None:
        """A repeat that comes while the view runs waits for its response."""
        shop, began, goes_on = Shop(state, wait=SECONDS), threading.Event(), threading.Event()
        shop.before = lambda: (began.set(), goes_on.wait(SECONDS), None)[2]
        with ThreadPoolExecutor(2) as pool:
            first = pool.submit(shop.pay)
            assert began.wait(SECONDS)
            repeat = pool.submit(shop.pay)
            goes_on.set()
            assert [first.result().json, repeat.result().json] == [{"run": 1, "item": "a"}] * 2
            assert is_replay(repeat.result())

    def test_refused(self, state: State) -> None:
        """A repeat that is not to wait is refused while the view runs."""
        shop, seen = Shop(state, wait=0), []
        shop.before = lambda: seen.append(shop.pay().status_code)
        assert shop.pay().status_code == 201
        assert (seen, shop.runs) == ([409], 1)

    def test_died(self, state: State, clock: Clock) -> None:
        """If the process of the first request dies, a repeat runs the view when its lease ends."""
        shop = Shop(state, wait=0)
        held = state.namespace("idempotent").lock(_key("k"), lease=30).acquire()
        assert shop.pay().status_code == 409
        clock.advance(31)
        assert shop.pay().status_code == 201
        held.discard()

    def test_lease_ended(self, state: State) -> None:
        """If a repeat has run the view meanwhile, all get the response that was stored first."""
        shop, other = Shop(state, wait=0), Shop(state, wait=0)
        other.runs = 10

        def lose_and_let_another_run() -> None:
            state.namespace("idempotent/lock").delete(_key("k"))
            assert other.pay().json["run"] == 11

        shop.before = lose_and_let_another_run
        assert (shop.pay().json["run"], shop.runs) == (11, 1)


def _key(given: str) -> str:
    """Under what a response is stored."""
    return idempotent._hash(repr((given, "")).encode())
