"""Views that do what a request with an ``Idempotency-Key`` asks once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import crowd
import pytest
from backends import BACKENDS, CROWDS, IN_THE_STATE, ON_ALL, ONE_OF_EACH_KIND, Clock
from flask import Flask, Response, abort, jsonify, request
from flask.testing import FlaskClient
from get_then_set import chances
from werkzeug.test import TestResponse

from sharedstate import State, ValueTooLarge
from sharedstate.jobs import Jobs, idempotent

SECONDS = 30  # Guards against a hang, and nothing else.

pytestmark = ONE_OF_EACH_KIND


class Maker(Jobs):
    """As a cache: it has a state."""

    def __init__(self, state: State) -> None:
        self.state = state  # type: ignore[misc]


class Shop:
    """An application whose view says how often it has run."""

    def __init__(self, state: State, **options: Any) -> None:
        self.runs = 0
        self.before: Callable[[], object] = lambda: None
        app = self.app = Flask("shop")
        app.testing = True
        idempotent = Maker(state).idempotent(**options)

        @app.route("/pay/<item>", methods=["POST", "PUT"])
        @app.post("/give/<item>")
        @idempotent
        def pay(item: str) -> Any:
            """Pays."""
            self.runs += 1
            done = self.before()
            if done is not None:
                return done
            return jsonify(run=self.runs, item=item), 201, {"Location": f"/paid/{self.runs}"}

        self.view = pay

    def client(self) -> FlaskClient:
        return self.app.test_client()

    def pay(self, key: str | None = "k", path: str = "/pay/a", **given: Any) -> TestResponse:
        headers = {} if key is None else {"Idempotency-Key": key}
        headers |= given.pop("headers", {})
        return self.client().open(path, **{"method": "POST", "headers": headers, **given})


@pytest.fixture
def shop(state: State) -> Shop:
    return Shop(state)


def is_replay(response: TestResponse) -> bool:
    return response.headers.get("Idempotency-Replayed") == "true"


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


# The race: eight workers send the same requests at the same moment.


def ask_guarded(state: State, me: int, times: int) -> Any:
    yield from _ask(state, Maker(state).idempotent(wait=60), times)


def ask_unguarded(state: State, me: int, times: int) -> Any:
    """The negative control: who finds no response runs the view and stores what it returns."""
    yield from _ask(state, lambda view: partial(_look_then_run, state, view), times)


def _look_then_run(state: State, view: Callable[[str], str], item: str) -> str:
    found: str | None = state.get(f"response {item}")
    if found is None:
        found = view(item)
        state.set(f"response {item}", found)
    return found


# Rules are compiled, and compiling in several threads fails at times (CPython gh-106905).
_COMPILING = threading.Lock()


def _ask(state: State, decorate: Callable[[Callable[[str], str]], Any], times: int) -> Any:
    view = decorate(lambda item: str(state.inc(f"paid {item}")))
    with _COMPILING:
        app = Flask("app")
        app.add_url_rule("/<item>", "pay", view, methods=["POST"])
    client = app.test_client()
    for item in range(times):
        yield crowd.GATE
        yield partial(_text, client, item)


def _text(client: FlaskClient, item: int) -> tuple[int, str, bool]:
    response = client.post(f"/{item}", headers={"Idempotency-Key": f"key {item}"})
    return item, response.text, is_replay(response)


def _paid(state: State, times: int) -> list[int]:
    return [state.get(f"paid {item}") for item in range(times)]


@ON_ALL
@pytest.mark.slow
@pytest.mark.parametrize("backend, kind", CROWDS)
def test_race(backend: Any, kind: str, race_settings: dict[str, str]) -> None:
    """Each request is done once, on every store, and all get its response."""
    open_state = partial(State.from_settings, race_settings)
    work, look = partial(ask_guarded, times=6), partial(_paid, times=6)
    outcome = crowd.run(kind, open_state, work, 8, look)
    results = sorted(call.result for call in outcome.answers)
    assert results == sorted([(n, "1", i > 0) for n in range(6) for i in range(8)])
    assert outcome.found == [1] * 6


@pytest.mark.slow
@pytest.mark.parametrize("backend", [b for b in BACKENDS if b.id == "filesystem"], ids=["files"])
def test_race_control(backend: Any, cache_settings: dict[str, str]) -> None:
    """Looking before the response is stored does some requests more than once."""
    work, look = partial(ask_unguarded, times=20), partial(_paid, times=20)
    outcomes = (crowd.run("forked", each, work, 5, look) for each in chances(cache_settings))
    assert any(max(outcome.found) > 1 for outcome in outcomes)
