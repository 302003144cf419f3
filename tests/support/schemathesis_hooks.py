"""What a schema cannot say of a valid request, for Schemathesis (see `schemathesis.toml`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import schemathesis

MAX_KEY_BYTES = 250


@schemathesis.hook
def map_body(context: Any, body: Any) -> Any:
    """To a schema 2.0 is an integer, which is none here; and bounds may be the wrong way round."""
    return _mapped(body, _whole_number, _bounds_in_order)


@schemathesis.hook
def filter_case(context: Any, case: Any) -> bool:
    """A key has at most 250 bytes, not characters; a cursor comes from the page before; and a hit
    costs no more than its limit."""
    query, path = case.query or {}, case.path_parameters or {}
    texts = [*path.values(), query.get("prefix", "")]
    if isinstance(case.body, dict) and isinstance(case.body.get("operations"), list):
        texts += [each.get("key", "") for each in case.body["operations"] if isinstance(each, dict)]
    if isinstance(case.body, dict) and _is_more(case.body.get("cost"), case.body.get("limit")):
        return False
    return "cursor" not in query and all(map(_is_short, texts))


def _is_more(cost: Any, limit: Any) -> bool:
    return isinstance(cost, int) and isinstance(limit, int) and cost > limit


def _is_short(text: Any) -> bool:
    return len(str(text).encode(errors="replace")) <= MAX_KEY_BYTES


def _mapped(value: Any, *changes: Callable[[Any], Any]) -> Any:
    if isinstance(value, dict):
        value = {name: _mapped(member, *changes) for name, member in value.items()}
    elif isinstance(value, list):
        value = [_mapped(member, *changes) for member in value]
    for change in changes:
        value = change(value)
    return value


def _whole_number(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _bounds_in_order(value: Any) -> Any:
    if isinstance(value, dict):
        low, high = value.get("minimum"), value.get("maximum")
        if isinstance(low, int) and isinstance(high, int) and low > high:
            return value | {"minimum": high, "maximum": low}
    return value
