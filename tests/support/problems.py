"""What a response that is a problem document has to be."""

from __future__ import annotations

from typing import Any


def refused(response: Any, status: int, *words: str) -> None:
    """Check that a response is a problem document with this status that has these words in it."""
    assert response.status_code == status, response.text
    assert response.mimetype == "application/problem+json"
    problem = response.get_json(force=True)
    assert problem["status"] == status
    assert problem["title"] and problem["type"]
    for word in words:
        assert word in problem["detail"]
