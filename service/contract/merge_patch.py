"""JSON merge patches (RFC 7396)."""

from __future__ import annotations

from typing import Any

from werkzeug.exceptions import BadRequest


def merged(target: Any, patch: Any) -> Any:
    """What the patch makes of the target, as section 2 of the RFC has it.

    :raises BadRequest: if the patch is nested deeper than Python can follow; Pythons from 3.12 on
        parse such JSON.
    """
    try:
        return _merged(target, patch)
    except RecursionError as error:
        raise BadRequest("The patch is nested too deep.") from error


def _merged(target: Any, patch: Any) -> Any:
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = _merged(result.get(name), value)
    return result
