"""Conditional requests and merge patches, on one store of each kind."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from backends import ONE_OF_EACH_KIND
from flask.testing import FlaskClient

pytestmark = ONE_OF_EACH_KIND

PATH = "/v1/values/a"
MERGE_PATCH = "application/merge-patch+json"


def put(client: FlaskClient, value: Any, **headers: str) -> Any:
    names = {name.replace("_", "-"): tag for name, tag in headers.items()}
    return client.put(PATH, json={"value": value}, headers=names)


def patch(client: FlaskClient, body: Any, **headers: str) -> Any:
    names = {name.replace("_", "-"): tag for name, tag in headers.items()}
    return client.patch(PATH, data=json.dumps(body), content_type=MERGE_PATCH, headers=names)


class TestETag:
    def test_is_the_values(self, client: FlaskClient) -> None:
        """PUT, GET and HEAD answer one strong tag, which only another value changes."""
        first = put(client, {"n": 1}).headers["ETag"]
        assert first[0] == first[-1] == '"'
        shown = client.get(PATH)
        assert (shown.headers["ETag"], shown.headers["Cache-Control"]) == (first, "no-cache")
        head = client.head(PATH)
        assert (head.headers["ETag"], head.data) == (first, b"")
        assert head.headers["Content-Length"] == shown.headers["Content-Length"]
        assert put(client, {"n": 2}).headers["ETag"] != first
        assert put(client, {"n": 1}).headers["ETag"] == first

    def test_present_is_304(self, client: FlaskClient) -> None:
        """A client that has the present value gets it again only when it is another."""
        for sent in ("{}", "W/{}", '"x", {}', "*"):
            tag = put(client, 1).headers["ETag"]
            known = {"If-None-Match": sent.format(tag)}
            response = client.get(PATH, headers=known)
            assert (response.status_code, response.data) == (304, b""), sent
            assert response.headers["ETag"] == tag
            assert "Content-Type" not in response.headers
            assert client.head(PATH, headers=known).status_code == 304
            put(client, 2)
            assert client.get(PATH, headers=known).status_code == (304 if sent == "*" else 200)
            client.delete(PATH)
            assert client.get(PATH, headers=known).status_code == 404


@pytest.mark.needs("keys")
def test_a_listing_is_304_until_it_changes(client: FlaskClient) -> None:
    """The tag of a listing changes with every value, key and expiry, and not by itself."""
    seen = set()

    def changed() -> bool:
        response = client.get("/v1/values?prefix=a")
        tag = response.headers["ETag"]
        again = client.get("/v1/values?prefix=a", headers={"If-None-Match": tag})
        assert (again.status_code, again.headers["ETag"]) == (304, tag)
        is_new = tag not in seen
        seen.add(tag)
        return is_new

    assert changed()
    for body in ({"value": 1}, {"value": 2}, {"value": 2, "ttl": 1000}):
        client.put(PATH, json=body)
        assert changed()
        assert not changed()
    client.put("/v1/values/ab", json={"value": 2})
    assert changed()
    client.put("/v1/values/b", json={"value": 2})
    assert not changed()


class TestIfMatch:
    def test_holds(self, client: FlaskClient) -> None:
        """PUT, PATCH and DELETE do what they say if the value is one of those named."""
        tag = put(client, {"n": 1}).headers["ETag"]
        tag = put(client, {"n": 2}, If_Match=f'"x", {tag}').headers["ETag"]
        assert client.get(PATH).get_json()["value"] == {"n": 2}
        tag = patch(client, {"m": 3}, If_Match=tag).headers["ETag"]
        assert client.get(PATH).get_json()["value"] == {"n": 2, "m": 3}
        assert client.delete(PATH, headers={"If-Match": tag}).status_code == 204
        assert client.get(PATH).status_code == 404

    def test_does_not_hold(self, client: FlaskClient) -> None:
        """Otherwise it is 412, whatever the method, and nothing changes; weak tags never match."""
        tag = put(client, {"n": 1}).headers["ETag"]
        for sent in ('"x"', "W/{}", "x", ""):
            match = sent.format(tag)
            responses = [put(client, 2, If_Match=match), patch(client, {"n": 2}, If_Match=match)]
            responses.append(client.delete(PATH, headers={"If-Match": match}))
            for response in responses:
                assert response.status_code == 412, sent
                assert response.mimetype == "application/problem+json"
        assert client.get(PATH).headers["ETag"] == tag

    def test_missing(self, client: FlaskClient) -> None:
        """A key without a value has none that matches, and is not made."""
        for sent in ('"x"', "*"):
            assert put(client, 1, If_Match=sent).status_code == 412
            assert patch(client, {"n": 1}, If_Match=sent).status_code == 412
            assert client.delete(PATH, headers={"If-Match": sent}).status_code == 412
            assert client.get(PATH).status_code == 404

    def test_any(self, client: FlaskClient) -> None:
        """``*`` stands for every value."""
        put(client, 1)
        response = put(client, 2, If_Match="*")
        assert (response.status_code, response.get_json()["value"]) == (200, 2)

    def test_expiry(self, client: FlaskClient) -> None:
        """A conditional PUT sets the expiry as a plain one does."""
        tag = client.put(PATH, json={"value": 1, "ttl": 1000}).headers["ETag"]
        body = {"value": 2, "ttl": 500}
        client.put(PATH, json=body, headers={"If-Match": tag})
        assert 400 < client.get(PATH).get_json()["ttl"] <= 500
        assert put(client, 3, If_Match="*").get_json()["ttl"] is None
        assert client.get(PATH).get_json()["ttl"] is None


class TestIfNoneMatch:
    def test_creates_once(self, client: FlaskClient) -> None:
        """``*`` stores a value where there is none, and never over one."""
        assert put(client, 1, If_None_Match="*").status_code == 201
        assert put(client, 2, If_None_Match="*").status_code == 412
        assert client.get(PATH).get_json()["value"] == 1

    def test_tag(self, client: FlaskClient) -> None:
        """A tag stores over every value but that one."""
        tag = put(client, 1).headers["ETag"]
        assert put(client, 2, If_None_Match=tag).status_code == 412
        assert put(client, 2, If_None_Match=f"W/{tag}").status_code == 412
        assert client.delete(PATH, headers={"If-None-Match": tag}).status_code == 412
        assert put(client, 2, If_None_Match='"x"').status_code == 200

    def test_one_of_many_wins(self, client: FlaskClient) -> None:
        """Of clients that create a key at once, one does."""
        with ThreadPoolExecutor(8) as pool:
            app = client.application
            codes = list(
                pool.map(
                    lambda n: put(app.test_client(), n, If_None_Match="*").status_code, range(32)
                )
            )
        assert sorted(codes) == [201] + [412] * 31


@pytest.mark.slow
def test_no_conditional_write_is_lost(client: FlaskClient) -> None:
    """Of clients that change what they have read, each that is answered 200 has changed it."""
    app = client.application
    put(client, 0)

    def attempt(_: int) -> bool:
        mine = app.test_client()
        seen = mine.get(PATH)
        response = put(mine, seen.get_json()["value"] + 1, If_Match=seen.headers["ETag"])
        assert response.status_code in (200, 412)
        return response.status_code == 200

    with ThreadPoolExecutor(8) as pool:
        done = sum(pool.map(attempt, range(64)))
    assert client.get(PATH).get_json()["value"] == done > 0


# RFC 7396, Appendix A: what a value is, the patch, and the value after it.
EXAMPLES: list[tuple[Any, Any, Any]] = [
    ({"a": "b"}, {"a": "c"}, {"a": "c"}),
    ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
    ({"a": "b"}, {"a": None}, {}),
    ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
    ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
    ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
    ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
    ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
    (["a", "b"], ["c", "d"], ["c", "d"]),
    ({"a": "b"}, ["c"], ["c"]),
    ({"a": "foo"}, None, None),
    ({"a": "foo"}, "bar", "bar"),
    ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
    ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
    ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
]


class TestPatch:
    def test_appendix_a(self, client: FlaskClient) -> None:
        """Every example of the RFC comes out as it says."""
        for before, change, after in EXAMPLES:
            put(client, before)
            response = patch(client, change)
            assert (response.status_code, response.get_json()["value"]) == (200, after)
            shown = client.get(PATH)
            assert shown.get_json()["value"] == after
            assert shown.headers["ETag"] == response.headers["ETag"]

    def test_expiry_is_kept(self, client: FlaskClient) -> None:
        """A patched value ends when it would have."""
        client.put(PATH, json={"value": {}, "ttl": 1000})
        assert 900 < patch(client, {"a": 1}).get_json()["ttl"] <= 1000
        assert 900 < client.get(PATH).get_json()["ttl"] <= 1000

    def test_missing(self, client: FlaskClient) -> None:
        """There is nothing to patch where there is no value."""
        assert patch(client, {"a": 1}).status_code == 404
        assert client.get(PATH).status_code == 404

    def test_another_kind_of_patch(self, client: FlaskClient) -> None:
        """Anything but a merge patch is 415, which says what is one, and changes nothing."""
        put(client, {"a": 1})
        for media in ("application/json", "application/json-patch+json", "x/y"):
            response = client.patch(PATH, data="{}", content_type=media)
            assert (response.status_code, response.headers["Accept-Patch"]) == (415, MERGE_PATCH)
        assert client.patch(PATH, data="{", content_type=MERGE_PATCH).status_code == 400
        assert client.get(PATH).get_json()["value"] == {"a": 1}

    @pytest.mark.slow
    def test_at_once(self, client: FlaskClient) -> None:
        """Patches that come at once are all in the value."""
        app = client.application
        put(client, {})
        with ThreadPoolExecutor(8) as pool:
            codes = set(
                pool.map(lambda n: patch(app.test_client(), {f"n{n}": n}).status_code, range(40))
            )
        assert codes == {200}
        assert client.get(PATH).get_json()["value"] == {f"n{n}": n for n in range(40)}
