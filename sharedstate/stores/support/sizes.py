"""How much an operation carries."""

from __future__ import annotations

from ..operations import Batch, Operation


def size_of(operation: Operation) -> int:
    """About how many bytes an operation carries: those of the values that it stores."""
    if isinstance(operation, Batch):
        return sum(size_of(step) for _, step in operation.steps)
    return len(getattr(operation, "value", None) or b"")
