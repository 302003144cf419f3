"""Tokens, addresses and other sites' pages: who may do what, and that nothing changes otherwise."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest
from flask.testing import FlaskClient

import app as service
from common import cache
from service.access import is_loopback
from sharedstate import ConfigurationError

TOKEN = "the-token-for-everything"
READ = "the-token-for-reading"
PUBLIC = ("/", "/docs", "/openapi.json", "/health/live", "/health/ready", "/static/page.css")
PRIVATE = ("/v1/values", "/v1/values/a", "/v1/store", "/v1/session", "/metrics", "/demo", "/nope")


def client_of(**config: Any) -> Iterator[FlaskClient]:
    app = service.create_app({"TESTING": True, "CACHE_TYPE": "simple", **config})
    with app.app_context():
        cache.set("a", 1)
        yield app.test_client()
        assert cache.get_many(*cache.keys()) == [1], "a refusal has changed something"


@pytest.fixture
def guarded() -> Iterator[FlaskClient]:
    """A client of a service with both tokens."""
    yield from client_of(API_TOKEN=TOKEN, API_READ_TOKEN=READ)


@pytest.fixture
def open_() -> Iterator[FlaskClient]:
    """A client of a service without tokens."""
    yield from client_of()


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


WRITES = [
    ("PUT", "/v1/values/b", {"value": 2}),
    ("PUT", "/v1/values/a", {"value": 2}),
    ("PATCH", "/v1/values/a", {}),
    ("DELETE", "/v1/values/a", None),
    ("POST", "/v1/counters/a", {}),
    ("PUT", "/v1/counters/b", {"value": 2}),
    ("POST", "/v1/batch", {"operations": [{"op": "inc", "key": "a"}]}),
    ("POST", "/v1/locks/job", {}),
    ("POST", "/v1/limits/job", {"limit": 1, "per": 1}),
    ("POST", "/v1/session/counters/a", {}),
    ("POST", "/demo/counter", {"race": "r"}),
]


def is_problem(response: Any, status: int) -> bool:
    return (response.status_code, response.mimetype) == (status, "application/problem+json")


class TestTokens:
    @pytest.mark.parametrize("path", PRIVATE)
    def test_needed_for_all_that_shows_state(self, guarded: FlaskClient, path: str) -> None:
        """Without a token, or with a wrong one, it is 401, which says how to send one."""
        for headers in (
            {},
            bearer("wrong"),
            bearer(TOKEN[:-1]),
            bearer(TOKEN + "x"),
            bearer(""),
            bearer("ü"),
            {"Authorization": TOKEN},
            {"Authorization": f"Basic {TOKEN}"},
            {"X-API-Key": TOKEN},
            {"Cookie": f"token={TOKEN}"},
        ):
            response = guarded.get(path, headers=headers)
            assert is_problem(response, 401)
            challenge = 'Bearer realm="sharedstate"'
            if headers.get("Authorization", "").startswith("Bearer ") and headers != bearer(""):
                challenge += ', error="invalid_token"'  # RFC 6750, section 3.1
            assert response.headers["WWW-Authenticate"] == challenge
        assert is_problem(guarded.get(f"{path}?token={TOKEN}&API_TOKEN={TOKEN}"), 401)
        for token in (TOKEN, READ):
            assert guarded.get(path, headers=bearer(token)).status_code in (200, 404)

    @pytest.mark.parametrize("path", PUBLIC)
    def test_not_needed(self, guarded: FlaskClient, path: str) -> None:
        """What shows no state needs none: the page has to be there to be given one."""
        with guarded.get(path) as response:
            assert response.status_code == 200

    def test_for_reading(self, guarded: FlaskClient) -> None:
        """The reading token changes nothing: 403. None or a wrong one is 401."""
        for method, path, body in WRITES:
            for token, status in ((READ, 403), ("wrong", 401)):
                response = guarded.open(path, method=method, json=body, headers=bearer(token))
                assert is_problem(response, status)
            assert is_problem(guarded.open(path, method=method, json=body), 401)

    def test_for_everything(self, guarded: FlaskClient) -> None:
        """The token for everything reads and changes, from whatever machine and by any name."""
        headers = bearer(TOKEN)
        made = guarded.put("/v1/values/b", json={"value": 2}, headers=headers)
        assert made.status_code == 201
        far = guarded.delete(
            "/v1/values/b",
            headers=headers,
            base_url="http://state.example",
            environ_overrides={"REMOTE_ADDR": "203.0.113.9"},
        )
        assert far.status_code == 204

    def test_head_and_scheme(self, guarded: FlaskClient) -> None:
        """HEAD is reading, and the scheme's case does not matter."""
        headers = {"Authorization": f"bearer {READ}"}
        assert guarded.head("/v1/values/a", headers=headers).status_code == 200

    def test_alone(self) -> None:
        """With the reading token alone nobody changes anything."""
        for client in client_of(API_READ_TOKEN=READ):
            assert client.get("/v1/values/a", headers=bearer(READ)).status_code == 200
            assert is_problem(client.delete("/v1/values/a", headers=bearer(READ)), 403)
            assert is_problem(client.delete("/v1/values/a", headers=bearer("None")), 401)

    def test_in_no_answer_and_no_log(
        self, guarded: FlaskClient, caplog: pytest.LogCaptureFixture
    ) -> None:
        """No token comes back in an answer or gets into the log."""
        caplog.set_level(logging.DEBUG)
        for path in (*PUBLIC, *PRIVATE):
            for headers in (bearer(TOKEN), bearer(f"{TOKEN}-not")):
                with guarded.get(path, headers=headers) as response:
                    assert TOKEN not in response.text
                    assert TOKEN not in str(response.headers)
        assert TOKEN not in caplog.text


class TestThisMachine:
    @pytest.mark.parametrize(
        ("address", "name"),
        [
            ("203.0.113.9", "localhost"),
            ("::ffff:10.0.0.1", "localhost"),
            ("127.0.0.1", "evil.example"),
            ("127.0.0.1", "127.evil.example"),
            ("127.0.0.1", "localhost.evil.example"),
            ("127.0.0.1", "10.0.0.1:5000"),
            ("127.0.0.1", "[2001:db8::1]:5000"),
            ("127.0.0.1", "[2001:db8::1]"),
            ("::1", "[::ffff:10.0.0.1]:5000"),
        ],
    )
    def test_alone_is_served_without_a_token(
        self, open_: FlaskClient, address: str, name: str
    ) -> None:
        """Another machine, or a name that a page of another site may have, is 403."""
        for method, path, body in [*WRITES, ("GET", "/v1/values/a", None)]:
            response = open_.open(
                path,
                method=method,
                json=body,
                base_url=f"http://{name}",
                environ_overrides={"REMOTE_ADDR": address},
            )
            assert is_problem(response, 403)
            assert "API_TOKEN" in response.get_json(force=True)["detail"]

    @pytest.mark.parametrize("name", ["localhost", "localhost:5000", "127.0.0.1:80", "[::1]:5000"])
    def test_is_served(self, open_: FlaskClient, name: str) -> None:
        """This machine is served by each of its own names, and through a socket file."""
        for address in ("127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1", ""):
            response = open_.get(
                "/v1/values/a",
                base_url=f"http://{name}",
                environ_overrides={"REMOTE_ADDR": address},
            )
            assert response.status_code == 200

    def test_by_a_trusted_name(self) -> None:
        """TRUSTED_HOSTS adds a name, not another machine; INSECURE lets everybody in."""
        there = {"base_url": "http://state.example"}
        far = {"environ_overrides": {"REMOTE_ADDR": "203.0.113.9"}}
        for client in client_of(TRUSTED_HOSTS=["state.example"]):
            assert client.get("/v1/values/a", **there).status_code == 200
            assert client.get("/v1/values/a", **there, **far).status_code == 403
            assert client.get("/v1/values/a", base_url="http://other.example").status_code == 400
        for client in client_of(INSECURE=True):
            assert client.get("/v1/values/a", **there, **far).status_code == 200
        for client in client_of(INSECURE=True, API_TOKEN=TOKEN):
            assert client.get("/v1/values/a").status_code == 401

    def test_behind_a_proxy(self) -> None:
        """With PROXIES the scheme is the client's, as the proxy says; without, the proxy's.

        Nobody is let in for what X-Forwarded-For says.
        """
        headers = {"X-Forwarded-For": "127.0.0.1", "X-Forwarded-Proto": "https"}
        far = {"environ_overrides": {"REMOTE_ADDR": "203.0.113.9"}}
        for client in client_of(PROXIES=1, API_TOKEN=TOKEN):
            assert client.get("/v1/values/a", headers=headers, **far).status_code == 401
        for client in client_of():
            assert client.get("/v1/values/a", headers=headers, **far).status_code == 403
        headers["X-Forwarded-For"] = "203.0.113.9"
        for client in client_of(PROXIES=1, INSECURE=True):
            cookie = client.put("/v1/session/values/a", json={"value": 1}, headers=headers)
            assert "Secure" in cookie.headers["Set-Cookie"]
        for client in client_of():
            assert client.get("/v1/values/a", headers=headers).status_code == 200

    def test_by_its_own_names_too(self) -> None:
        """TRUSTED_HOSTS adds to the names that this machine has for itself; one may be alone."""
        for client in client_of(TRUSTED_HOSTS="state.example"):
            for name in ("state.example", "localhost", "127.0.0.1:5000"):
                assert client.get("/v1/values/a", base_url=f"http://{name}").status_code == 200

    def test_a_proxys_port_makes_no_other_site(self) -> None:
        """The page's own requests stay so behind a proxy that tells its port."""
        headers = {"Origin": "http://localhost", "X-Forwarded-Port": "80"} | bearer(TOKEN)
        for client in client_of(PROXIES=1, API_TOKEN=TOKEN):
            assert client.post("/v1/counters/b", headers=headers).status_code == 200
            assert client.delete("/v1/counters/b", headers=headers).status_code == 204

    @pytest.mark.parametrize("value", ["off", "no", "False", 2, None])
    @pytest.mark.parametrize("name", ["INSECURE", "DEMO", "ACCESS_LOG"])
    def test_what_is_no_switch(self, name: str, value: Any) -> None:
        """Text is true to Python: a switch that is neither true nor false is a mistake at start."""
        with pytest.raises(ConfigurationError, match=name):
            service.create_app({"CACHE_TYPE": "simple", name: value})

    @pytest.mark.parametrize(
        ("host", "expected"),
        [("localhost", True), ("127.0.0.1", True), ("::1", True), ("[::1]", True)]
        + [(host, False) for host in ("0.0.0.0", "::", "", "10.0.0.1", "127.0.0.1.nip.io", "a")],
    )
    def test_is_loopback(self, host: str, expected: bool) -> None:
        """Only this machine's own addresses and its name for itself are."""
        assert is_loopback(host) is expected


class TestOtherSites:
    @pytest.mark.parametrize(
        "headers",
        [
            {"Sec-Fetch-Site": "cross-site"},
            {"Sec-Fetch-Site": "same-site"},
            {"Sec-Fetch-Site": "cross-site", "Origin": "http://localhost"},
            {"Origin": "http://evil.example"},
            {"Origin": "http://localhost:8080"},
            {"Origin": "http://evil-localhost"},
            {"Origin": "http://localhost.evil.example"},
            {"Origin": "null"},
        ],
    )
    def test_change_nothing(self, open_: FlaskClient, headers: dict[str, str]) -> None:
        """A browser's request for another site's page is 403 if it would change anything."""
        for method, path, body in WRITES:
            assert is_problem(open_.open(path, method=method, json=body, headers=headers), 403)

    @pytest.mark.parametrize(
        "headers",
        [
            {"Sec-Fetch-Site": "same-origin", "Origin": "http://localhost"},
            {"Sec-Fetch-Site": "none"},
            {"Origin": "http://localhost"},
        ],
    )
    def test_the_pages_own(self, open_: FlaskClient, headers: dict[str, str]) -> None:
        """The requests of the service's own page do."""
        assert open_.post("/v1/counters/b", headers=headers).status_code == 200
        assert open_.delete("/v1/counters/b", headers=headers).status_code == 204

    def test_may_not_read(self, open_: FlaskClient) -> None:
        """No answer allows a page of another site to read it."""
        response = open_.get("/v1/values/a", headers={"Origin": "http://evil.example"})
        assert not [name for name, _ in response.headers if name.startswith("Access-Control")]
        assert response.headers["X-Content-Type-Options"] == "nosniff"
