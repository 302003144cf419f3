"""Per-client state, on one store of each kind: exact for each client, out of reach of others."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from backends import ONE_OF_EACH_KIND, Backend, Clock
from flask.testing import FlaskClient

from common import cache
from sharedstate import StoreUnavailable

SESSION = "/v1/session"
pytestmark = ONE_OF_EACH_KIND

COUNTER = "/v1/session/counters/hits"
COOKIE = "sharedstate_session"


@pytest.fixture
def passing(client: FlaskClient, backend: Backend, cache_settings: dict[str, str]) -> Clock:
    """What lets time pass for the application's own store."""
    return backend.clock(cache.state.store, cache_settings)


def session_id(client: FlaskClient) -> str:
    cookie = client.get_cookie(COOKIE, path=SESSION)
    assert cookie is not None
    return cookie.value


def test_reset_inc_and_dec_for_each_browser(client: FlaskClient) -> None:
    """The question's demo: two browsers count beside each other, each for itself."""
    other = client.application.test_client()
    numbers = [client.post(COUNTER).get_json()["value"] for _ in range(3)]
    assert numbers == [1, 2, 3]
    assert other.post(COUNTER, json={"delta": -1}).get_json() == {"name": "hits", "value": -1}
    assert client.put(COUNTER, json={"value": 0}).get_json() == {"name": "hits", "value": 0}
    assert client.get(SESSION).get_json() == {"values": {}, "counters": {"hits": 0}}
    assert other.get(SESSION).get_json() == {"values": {}, "counters": {"hits": -1}}


def test_values(client: FlaskClient) -> None:
    """A client's values are stored, shown and removed, and are nobody else's."""
    other = client.application.test_client()
    path = f"{SESSION}/values/a/ü"
    assert client.get(path).status_code == 404
    assert client.delete(path).status_code == 404
    assert client.put(path, json={"value": {"n": 1}}).get_json() == {
        "name": "a/ü",
        "value": {"n": 1},
    }
    assert client.get(path).get_json() == {"name": "a/ü", "value": {"n": 1}}
    assert other.get(path).status_code == 404
    assert client.delete(path).status_code == 204
    assert client.get(SESSION).get_json() == {"values": {}, "counters": {}}


def test_the_cookie(client: FlaskClient) -> None:
    """It is an opaque random id for the session's routes, which no script reads; Secure on TLS."""
    response = client.post(COUNTER)
    cookie = response.headers["Set-Cookie"]
    assert re.match(rf"{COOKIE}=[\w-]{{43}}; ", cookie)
    for part in ("HttpOnly", "SameSite=Lax", "Path=/v1/session", "Expires="):
        assert part in cookie
    assert "Secure" not in cookie
    assert "Cookie" in response.headers["Vary"]
    secure = client.application.test_client().post(COUNTER, base_url="https://localhost")
    assert "; Secure;" in secure.headers["Set-Cookie"]


def test_looking_makes_no_session(client: FlaskClient) -> None:
    """A client that has nothing is given nothing: GET changes nothing."""
    assert client.get(SESSION).get_json() == {"values": {}, "counters": {}}
    assert client.get_cookie(COOKIE, path=SESSION) is None


def test_other_routes_have_no_session(client: FlaskClient) -> None:
    """A request elsewhere neither sets the cookie nor renews it."""
    client.post(COUNTER)
    for path in ("/v1/values", "/v1/store", "/health/live"):
        assert "Set-Cookie" not in client.get(path).headers


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_it_slides(client: FlaskClient, passing: Clock, method: str) -> None:
    """Each request lets a session live on for its whole lifetime; without one it ends."""
    days = 24 * 3600
    client.post(COUNTER)
    for _ in range(3):
        passing.advance(20 * days)
        path = COUNTER if method == "POST" else SESSION
        assert client.open(path, method=method).status_code == 200
    before = session_id(client)
    states = cache.state.namespace("client")
    hits = 4 if method == "POST" else 1
    assert states.get(before)["counters"] == {"hits": hits}
    passing.advance(32 * days)
    assert states.get(before) is None
    assert client.get(SESSION).get_json()["counters"] == {}
    assert client.post(COUNTER).get_json()["value"] == 1
    assert session_id(client) != before


def test_a_fresh_session(client: FlaskClient) -> None:
    """DELETE forgets all and gives another id; the old one is worth nothing any more."""
    client.post(COUNTER)
    client.put(f"{SESSION}/values/a", json={"value": 1})
    old = session_id(client)
    assert client.delete(SESSION).status_code == 204
    assert session_id(client) != old
    assert client.get(SESSION).get_json() == {"values": {}, "counters": {}}
    thief = client.application.test_client()
    thief.set_cookie(COOKIE, old, path=SESSION)
    assert thief.get(SESSION).get_json() == {"values": {}, "counters": {}}
    assert thief.post(COUNTER).get_json()["value"] == 1
    assert session_id(thief) != old


def test_a_made_up_id_is_replaced(client: FlaskClient) -> None:
    """A client cannot choose its id, so nobody can be made to use one that others know."""
    for given in ("x", "x" * 43, "x" * 300, "a%00b", "../client", "ü"):
        client.set_cookie(COOKIE, given, path=SESSION)
        assert client.post(COUNTER).status_code == 200
        assert session_id(client) != given


def test_parallel_requests_of_one_client(client: FlaskClient) -> None:
    """A client's requests at once each get a number of their own, and lose no value."""
    client.post(COUNTER)
    app, mine = client.application, session_id(client)

    def send(n: int) -> int:
        parallel = app.test_client()
        parallel.set_cookie(COOKIE, mine, path=SESSION)
        parallel.put(f"{SESSION}/values/v{n}", json={"value": n})
        number: int = parallel.post(COUNTER).get_json()["value"]
        return number

    with ThreadPoolExecutor(8) as pool:
        numbers = list(pool.map(send, range(40)))
    assert sorted(numbers) == [*range(2, 42)]
    state = client.get(SESSION).get_json()
    assert state["counters"] == {"hits": 41}
    assert state["values"] == {f"v{n}": n for n in range(40)}


REFUSED: list[tuple[str, str, Any, int]] = [
    ("POST", COUNTER, {"delta": 1.5}, 400),
    ("POST", COUNTER, {"dleta": 1}, 400),
    ("POST", COUNTER, {"delta": 2**63 - 1}, 409),
    ("PUT", COUNTER, {"value": "1"}, 400),
    ("PUT", COUNTER, {"value": 2**63}, 400),
    ("POST", f"{SESSION}/counters/%00", {}, 400),
    ("PUT", f"{SESSION}/values/{'x' * 251}", {"value": 1}, 400),
    ("PUT", f"{SESSION}/values/a", {}, 400),
    ("PUT", f"{SESSION}/values/a", {"value": "x" * (1 << 20)}, 413),
]


def test_refusals_change_nothing(client: FlaskClient) -> None:
    """What is wrong is refused, and the client's state stays."""
    client.post(COUNTER)
    for method, path, body, status in REFUSED:
        response = client.open(path, method=method, json=body)
        assert (response.status_code, response.mimetype) == (status, "application/problem+json")
        assert client.get(SESSION).get_json() == {"values": {}, "counters": {"hits": 1}}


def test_refusals_name_what_the_client_knows(client: FlaskClient) -> None:
    """A refusal names the client's own counter, and not what its state is called in the store."""
    client.put(COUNTER, json={"value": 2**63 - 1})
    full = client.post(COUNTER).get_json()
    assert full["detail"].startswith("The key 'hits': ")
    for name in "ab":
        large = client.put(f"{SESSION}/values/{name}", json={"value": "x" * 600_000})
    assert large.status_code == 413
    assert large.get_json()["detail"].startswith("The encoded value has ")


@pytest.mark.needs("keys")
def test_no_other_route_reaches_it(client: FlaskClient) -> None:
    """Nothing of a client is in a listing, or under any key of values, counters and batches."""
    client.put(f"{SESSION}/values/secret", json={"value": "mine"})
    client.post("/v1/counters/a", headers={"Idempotency-Key": "token"})
    sid = session_id(client)
    assert cache.state.namespace("client").get(sid)["values"] == {"secret": "mine"}
    others = client.application.test_client()
    assert [item["key"] for item in others.get("/v1/values").get_json()["items"]] == ["a"]
    guesses = [f"{space}{sep}{key}" for space in ("session", "client", "once") for sep in (":", "/")
               for key in (sid, "token")]  # fmt: skip
    for guess in [sid, "token", *guesses, *(f"%00{guess}" for guess in guesses)]:
        for path in (f"/v1/values/{guess}", f"/v1/counters/{guess}", f"/v1/locks/{guess}"):
            assert others.get(path).status_code in (400, 404)
        for op in ("get", "delete"):
            body = {"operations": [{"op": op, "key": guess.replace("%00", "\0")}]}
            response = others.post("/v1/batch", json=body)
            assert "mine" not in response.text
            assert response.status_code == 400 or response.get_json()["results"][0]["status"] == 404
    assert client.get(SESSION).get_json()["values"] == {"secret": "mine"}


@pytest.mark.needs("keys")
def test_a_store_that_is_down_is_503(client: FlaskClient, monkeypatch: Any) -> None:
    """A session on a store that does not answer is an error, not an empty session."""

    client.post(COUNTER)

    def fail(*args: Any, **kwargs: Any) -> Any:
        raise StoreUnavailable("down")

    for name in ("transact", "values", "read"):
        monkeypatch.setattr(cache.state.store, name, fail)
    for method, path in (("GET", SESSION), ("POST", COUNTER), ("DELETE", SESSION)):
        assert client.open(path, method=method).status_code == 503
    monkeypatch.undo()
    assert client.get(SESSION).get_json()["counters"] == {"hits": 1}


def test_a_change_is_one_write(client: FlaskClient, monkeypatch: Any) -> None:
    """Nothing else is stored after a change, whose failure would deny what is done."""
    client.post(COUNTER)
    store, writes = cache.state.store, []
    transact = store.transact

    def noted(keys: Any, operation: Any) -> Any:
        writes.append(keys)
        return transact(keys, operation)

    monkeypatch.setattr(store, "transact", noted)
    assert client.post(COUNTER).get_json()["value"] == 2
    assert len(writes) <= 1  # Where a server swaps by itself, none is seen here.


def test_a_new_session_that_cannot_be_stored(client: FlaskClient, monkeypatch: Any) -> None:
    """When all is forgotten and what follows fails, the response does not deny it."""
    client.post(COUNTER)
    state = cache.state.namespace("client")

    def fail(*args: Any, **kwargs: Any) -> Any:
        raise StoreUnavailable("down")

    monkeypatch.setattr(type(state), "set", fail)
    response = client.delete(SESSION)
    assert response.status_code == 503
    assert "may or may not" in response.get_json(force=True)["detail"]
    monkeypatch.undo()
    assert client.get(SESSION).get_json()["counters"] == {}


def test_what_is_forgotten_meanwhile_does_not_come_back(
    client: FlaskClient, monkeypatch: Any
) -> None:
    """A request that a DELETE goes before begins anew: its id is never made again."""
    client.post(COUNTER)
    old = session_id(client)
    states = cache.state.namespace("client")
    states.delete(old)  # As another request of this client does at the same time.
    assert client.post(COUNTER).get_json()["value"] == 1
    assert session_id(client) != old
    assert states.get(old) is None


def test_no_error_shows_an_id(client: FlaskClient, caplog: pytest.LogCaptureFixture) -> None:
    """Whoever has an id is that client: it is in no response and no line of the log."""
    client.post(COUNTER)
    sid = session_id(client)
    large = client.put(f"{SESSION}/values/a", json={"value": "x" * (1 << 20)})
    down = StoreUnavailable("down")
    down.key = sid
    states = cache.state.namespace("client")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("touch", "revise", "delete"):
            patch.setattr(type(states), name, lambda *_, **__: _raise(down))
        responses = [
            client.open(path, method=method)
            for method, path in (("GET", SESSION), ("POST", COUNTER), ("DELETE", SESSION))
        ]
    assert [response.status_code for response in responses] == [503, 503, 503]
    assert sid not in "".join([large.text, *(response.text for response in responses), caplog.text])


def _raise(error: Exception) -> Any:
    raise error
