"""JSON that is nested too deep: refused with 400, and nothing changes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from flask.testing import FlaskClient
from refusals import JSON, PATCH, client_of, everything, refused
from werkzeug.exceptions import BadRequest

from service.contract.merge_patch import merged


def nested(depth: int, opened: str = "[", closed: str = "]") -> str:
    return opened * depth + closed * depth


DEEP = {
    "lists": nested(5),
    "objects": nested(4, '{"a":', "}").replace("{}", "{1}").replace(":}", ":[1]}"),
    "after an escaped quote": '["\\"", ' + nested(4) + "]",
    "after an escaped backslash": '["\\\\", ' + nested(4) + ', "]"]',
    "late": "[[1], [[[[2]]]]]",
}
FLAT = {
    "lists": nested(4),
    "in a text": '"' + "[" * 50_000 + '"',
    "in a name": '{"' + "{" * 50 + '": "' + "}" * 50 + '"}',
    "between escaped quotes": '["\\"' + "[" * 50 + '\\"", "\\\\"]',
    "wide": "[" + "[]," * 20_000 + "[]]",
}


def putting(value: str) -> list[dict[str, Any]]:
    """Requests to store a value, in each way that there is."""
    body = f'{{"value":{value}}}'
    batch = f'{{"operations":[{{"op":"set","key":"a",{body[1:]}]}}'
    return [
        {"method": "PUT", "path": "/v1/values/a", "data": body},
        {"method": "PUT", "path": "/v1/session/values/s", "data": body},
        {"method": "PATCH", "path": "/v1/values/a", "data": value, "content_type": PATCH},
        {"method": "POST", "path": "/v1/batch", "data": batch},
    ]


def putting_four_deep(values: dict[str, str]) -> Iterator[tuple[str, int, FlaskClient, Any]]:
    """Each value in each way, where it may be nested four deep.

    :returns: its name, what MAX_JSON_DEPTH is, a client, and the request.
    """
    for way, around in enumerate((1, 1, 0, 3)):
        with client_of(MAX_JSON_DEPTH=around + 4) as client:
            for name, value in values.items():
                yield name, around + 4, client, {"content_type": JSON} | putting(value)[way]


def test_json_is_nested_at_most_max_json_depth_deep() -> None:
    """Deeper than that is 400, by whichever way it comes."""
    for _, most, client, request in putting_four_deep(DEEP):
        refused(client, 400, f"deeper than {most}", **request)


@pytest.mark.slow
def test_brackets_that_nest_nothing_do_not_count() -> None:
    """Brackets in texts, and any number of them beside each other, are no depth."""
    for name, _, client, request in putting_four_deep(FLAT):
        response = client.open(**request)
        assert response.status_code == 200, (name, response.text)


def test_very_deep_json_is_400() -> None:
    """100,000 brackets, closed or not, crash nothing, even if the setting would allow them."""
    for limit in (64, 10**9):
        with client_of(MAX_JSON_DEPTH=limit) as client:
            for opened, closed in (("[", "]"), ('{"a":', "}"), ('[{"a":', "}]"), ('[{"a":', "")):
                value = opened * 100_000 + (f"1{closed * 100_000}" if closed else "")
                for request in putting(value):
                    refused(client, 400, **({"content_type": JSON} | request))


@pytest.mark.parametrize("depth", [300, 500, 900, 1000, 1500, 3000])
def test_depth_that_the_setting_allows_is_stored_or_refused(depth: int) -> None:
    """With no limit of its own the service takes what it can handle, and refuses the rest."""
    with client_of(MAX_JSON_DEPTH=10**9) as client:
        for value in (nested(depth), '{"a":' * depth + "1" + "}" * depth):
            for request in putting(value):
                before = everything(client)
                response = client.open(**({"content_type": JSON} | request))
                assert response.status_code in (200, 400), response.text
                if response.status_code == 400:
                    assert everything(client) == before


def test_a_patch_that_python_cannot_follow_is_400() -> None:
    """Whatever the parser has let through."""
    patch: dict[str, Any] = {}
    for _ in range(100_000):
        patch = {"a": patch}
    with pytest.raises(BadRequest, match="deep"):
        merged({}, patch)


def test_patches_do_not_nest_deeper_than_they_are() -> None:
    """A patch of a patched value, again and again, leaves it as deep as the deepest of them."""
    with client_of(MAX_JSON_DEPTH=4) as client:
        for _ in range(10):
            client.patch("/v1/values/a", data='{"b":{"c":{"d":{}}}}', content_type=PATCH)
        value = client.get("/v1/values/a").get_json()["value"]
        assert value == {"kept": True, "b": {"c": {"d": {}}}}
