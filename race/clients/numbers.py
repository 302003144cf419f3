"""The number that a response gives its client: where it stands in the body, and how it is read."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable, Iterable
from typing import Any

from .rush import Response

Reader = Callable[[Response], int | None]

SHOWN = 120

# What people do not see of a page, and what they do.
_HIDDEN = re.compile(r"<!--.*?-->|<(script|style)\b.*?</\1\s*>|<[^>]*>", re.DOTALL | re.IGNORECASE)
_NUMBER = re.compile(r"(?:(?<![\w.])-)?\d+(?:[.,:]\d+)*")
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_INTEGER = re.compile(r"-?\d+")
_STEP = re.compile(r"""\.([^.\[\]]+)|\[(\d+)\]|\[(["'])(.*?)\3\]""")


def number_in(response: Response) -> int | None:
    """The only integer of a response; None if it is an error, or has none or several.

    It is the response itself, the only integer in a JSON object, or the only one in the text.
    """
    if not is_success(response):
        return None
    found = candidates(response)
    return int(found[0]) if len(found) == 1 and _INTEGER.fullmatch(found[0]) else None


def candidates(response: Response) -> list[str]:
    """The numbers among which `number_in` would have to choose: those of a text, as written."""
    try:
        body = json.loads(response.body)
    except ValueError:
        return _NUMBER.findall(html.unescape(_HIDDEN.sub(" ", text_of(response))))
    members: Iterable[object] = body.values() if isinstance(body, dict) else [body]
    return [str(member) for member in members if type(member) is int]


def reader(place: str) -> Reader:
    """What reads the number at a place: a JSON path (``$.data[0].n``), or a regular expression.

    Of an expression with a group, the first group is the number. ``1,234`` is read as 1234.

    :raises ValueError: it is neither.
    """
    find = _json_finder(place) if place.startswith("$") else _pattern_finder(place)

    def read(response: Response) -> int | None:
        return find(response) if is_success(response) else None

    return read


def is_success(response: Response) -> bool:
    """Whether a server did what it was asked to."""
    return response.status is not None and 200 <= response.status < 300


def text_of(response: Response) -> str:
    """The body as text."""
    return response.body.decode(errors="replace")


def shown(response: Response) -> str:
    """A response in a line, for people to see what their application has returned."""
    if response.status is None:
        return response.error or "no response"
    words = printable(" ".join(_COLOUR.sub("", text_of(response)).split()))
    return f"{response.status} {words if len(words) <= SHOWN else f'{words[:SHOWN]} …'}".rstrip()


def printable(text: str) -> str:
    """The text without colours and other commands to a terminal."""
    return "".join(filter(str.isprintable, _COLOUR.sub("", text)))


def _json_finder(path: str) -> Reader:
    steps = list(_STEP.finditer(path, 1))
    if "$" + "".join(step[0] for step in steps) != path:
        raise ValueError(f"{path!r} is no JSON path such as $.value or $.items[0].number")
    keys = [int(step[2]) if step[2] else step[1] or step[4] for step in steps]

    def find(response: Response) -> int | None:
        try:
            found: Any = json.loads(response.body)
            for key in keys:
                found = found[key]
        except (ValueError, LookupError, TypeError):
            return None
        return found if type(found) is int else _integer(found)

    return find


def _pattern_finder(pattern: str) -> Reader:
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise ValueError(f"{pattern!r} is no regular expression: {error}") from error

    def find(response: Response) -> int | None:
        found = compiled.search(text_of(response))
        return _integer(found[1] if compiled.groups else found[0]) if found else None

    return find


def _integer(found: object) -> int | None:
    text = found.replace(",", "").strip() if isinstance(found, str) else ""
    return int(text) if _INTEGER.fullmatch(text) else None
